// The device side of detail/lost_word.h.

#include <cuda_runtime_api.h>

#include <atomic>

#include "cuda/peer_ranks.h"
#include "libslice/base/detail/check.h"
#include "libslice/decode/detail/lost_word.h"
#include "libslice/device/detail/cuda_status.h"

namespace slice::detail {

using kernels::PeerLoss;

namespace {

void set(int32_t* word, PeerLoss loss) { std::atomic_ref(*word).store(static_cast<int32_t>(loss)); }

}  // namespace

LostWord::LostWord() {
  void* host = nullptr;
  ops::on_device::check(
      cudaHostAlloc(&host, sizeof *word_, cudaHostAllocPortable | cudaHostAllocMapped),
      "cudaHostAlloc");
  word_ = static_cast<int32_t*>(host);
  clear();
}

LostWord::~LostWord() { cudaFreeHost(word_); }

void LostWord::stop() { set(word_, PeerLoss::kStopped); }
void LostWord::clear() { set(word_, PeerLoss::kNone); }

void LostWord::check() const {
  switch (static_cast<PeerLoss>(std::atomic_ref(*word_).load())) {
    case PeerLoss::kNone:
      return;
    case PeerLoss::kTimeout:
      throw Error(
          formatted("lost contact with another GPU: nothing came for {} s", kPeerPatience.count()));
    case PeerLoss::kStopped:
      throw Error("lost contact with another GPU: what drives it has failed or ended");
  }
}

}  // namespace slice::detail
