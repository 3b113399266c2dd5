#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

namespace slice::kernels {

/// Ranks that work together at most: the GPUs of a host.
inline constexpr int kMostPeerRanks = 8;

/// Why a rank no longer waits for the others (PeerRanks::lost).
enum class PeerLoss : int32_t {
  kNone = 0,
  kTimeout = 1,  ///< another rank's numbers did not come in time
  kStopped = 2   ///< the host said so
};

/// What the kernels of a rank need to write to the others and to hear from them. All ranks launch
/// the same kernels in the same order, with the same sizes, strides and alignments.
///
/// Numbers travel with the count of the call beside them, four bytes and four bytes in one store,
/// so that nothing is waited for but the numbers themselves: no flag after them and no fence (the
/// low-latency protocol of NCCL). Counts are kept on the device: a graph may be replayed.
struct PeerRanks {
  int ranks = 1;
  int rank = 0;
  /// Of every rank, as this one's device addresses them: peer_mailbox_bytes(ranks), zeros before
  /// the first call. Each is written by the other ranks and read by its own.
  void* mailboxes[kMostPeerRanks] = {};
  /// This rank's own, peer_counter_bytes(), zeros before the first call.
  void* counters = nullptr;
  /// Host memory that the device addresses, a PeerLoss. A kernel that waits longer than `patience`
  /// writes kTimeout there and ends; the host may write kStopped to end all waiting. What kernels
  /// wrote since is then of no use, and they write on without waiting.
  int32_t* lost = nullptr;
  int64_t patience_ns = 0;
};

/// Zero where there are no such ranks.
size_t peer_mailbox_bytes(int ranks);
size_t peer_counter_bytes();

}  // namespace slice::kernels
