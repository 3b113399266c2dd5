#pragma once

#include <cstdint>
#include <cstring>

#include "cuda/detail/numeric.cuh"
#include "cuda/peer_ranks.h"

// How a block of one rank sends packs to the same block of the others and receives theirs.
//
// A mailbox has a place for every (half, sender, block, item of a thread, thread); a call uses one
// half, the next call of the block the other. A rank ends a call only when all others have sent
// theirs, so that none is more than one call ahead and nothing is overwritten before it was read.

namespace slice::kernels::detail {

constexpr int kExchangeThreads = 128;
constexpr int kExchangeBlocks = 128;  // at most: few enough to be resident together
constexpr int kExchangeItems = 16;    // packs of a thread, of one call
constexpr int kWords = 4;             // of a pack, four bytes each

/// What a rank remembers from call to call.
struct PeerCounters {
  uint32_t calls[kExchangeBlocks];  // of each block
  int32_t lost;                     // whether to wait no more
};

/// A word and the call that it belongs to.
__device__ __forceinline__ uint64_t stamped(uint32_t word, uint32_t call) {
  return uint64_t{call} << 32 | word;
}

/// Two words for another rank, each with its stamp at one time: stores of eight bytes are whole.
__device__ __forceinline__ void send_words(uint64_t* to, uint64_t first, uint64_t second) {
  asm volatile("st.relaxed.sys.v2.u64 [%0], {%1, %2};" ::"l"(to), "l"(first), "l"(second)
               : "memory");
}

__device__ __forceinline__ void receive_words(const uint64_t* from, uint64_t& first,
                                              uint64_t& second) {
  asm volatile("ld.relaxed.sys.v2.u64 {%0, %1}, [%2];"
               : "=l"(first), "=l"(second)
               : "l"(from)
               : "memory");
}

__device__ __forceinline__ uint64_t nanoseconds() {
  uint64_t now;
  asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now));
  return now;
}

/// One block's side of a call. kUsed: words of a pack that hold something.
template <int kUsed>
class PeerExchange {
 public:
  static_assert(kUsed == 1 || kUsed == kWords);

  /// To be made after the previous kernel has ended.
  __device__ __forceinline__ explicit PeerExchange(const PeerRanks& peers)
      : peers_(peers), counters_(static_cast<PeerCounters*>(peers.counters)) {
    call_ = counters_->calls[blockIdx.x] + 1;
    lost_ = counters_->lost != 0;
  }

  /// This thread's item j for all other ranks.
  __device__ __forceinline__ void send(int j, const uint32_t (&words)[kWords]) const {
    for (int step = 1; step < peers_.ranks; ++step) {
      const int to = (peers_.rank + step) % peers_.ranks;  // not all to one at a time
      uint64_t* place = place_in(peers_.mailboxes[to], peers_.rank, j);
      send_words(place, stamped(words[0], call_), stamped(words[1], call_));
      if (kUsed > 2) {
        send_words(place + kSecond, stamped(words[2], call_), stamped(words[3], call_));
      }
    }
  }

  /// Another rank's item j.
  __device__ __forceinline__ void receive(int from, int j, uint32_t (&words)[kWords]) {
    const uint64_t* place = place_in(peers_.mailboxes[peers_.rank], from, j);
    uint64_t got[kWords] = {};
    for (int turn = 1;; ++turn) {
      receive_words(place, got[0], got[1]);
      if (kUsed > 2) receive_words(place + kSecond, got[2], got[3]);
      bool whole = true;
#pragma unroll
      for (int w = 0; w < kUsed; ++w) whole = whole && static_cast<uint32_t>(got[w] >> 32) == call_;
      if (whole || lost_) break;
      if (turn % kTurns == 0) look_up();
    }
#pragma unroll
    for (int w = 0; w < kWords; ++w) words[w] = static_cast<uint32_t>(got[w]);
  }

  /// To be called by all threads, last.
  __device__ __forceinline__ void finish() const {
    __syncthreads();
    if (threadIdx.x == 0) counters_->calls[blockIdx.x] = call_;
  }

 private:
  static constexpr int kTurns =
      256;  // of waiting, some 200 µs, between two looks at the host's word
  static constexpr int64_t kSecond = 2 * kExchangeThreads;  // the pack's other words, in words

  __device__ __forceinline__ uint64_t* place_in(void* mailbox, int sender, int j) const {
    const int64_t half = call_ & 1;
    const int64_t item =
        ((half * peers_.ranks + sender) * kExchangeBlocks + blockIdx.x) * kExchangeItems + j;
    return static_cast<uint64_t*>(mailbox) + item * kWords * kExchangeThreads + 2 * threadIdx.x;
  }

  /// Whether to wait longer.
  __device__ __noinline__ void look_up() {
    auto* word = reinterpret_cast<volatile int32_t*>(peers_.lost);
    const uint64_t now = nanoseconds();
    if (begin_ == 0) begin_ = now;
    if (now - begin_ > static_cast<uint64_t>(peers_.patience_ns) && *word == 0) {
      *word = static_cast<int32_t>(PeerLoss::kTimeout);
    }
    if (*word == 0) return;
    lost_ = true;
    counters_->lost = 1;
  }

  const PeerRanks& peers_;
  PeerCounters* counters_;
  uint32_t call_;
  bool lost_;
  uint64_t begin_ = 0;
};

}  // namespace slice::kernels::detail
