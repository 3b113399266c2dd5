#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

namespace slice {
class ProcessGroup;
namespace kernels {
struct PeerRanks;
}
}  // namespace slice

namespace slice::detail {

/// Memory that GPUs of one host write to each other, for cuda/peer_ranks.h: one mailbox a rank.
class PeerMemory {
 public:
  virtual ~PeerMemory() = default;

  /// @throws std::out_of_range  not a rank of this process
  virtual const kernels::PeerRanks& of_rank(int64_t rank) const = 0;
  /// Ends all waiting of this process's kernels for other ranks, from any thread; what they compute
  /// is of no use from then on.
  virtual void stop() = 0;
  /// @throws Error  the kernels of a rank wait no more: stop() was called, or another rank did not
  ///                come in time or has ended
  virtual void check_contact() const = 0;
  /// After an error of a call, when no rank of this process works any more: as new, where all ranks
  /// are of this process. @throws CudaError  a device has failed
  virtual void reset() = 0;
  /// Where ranks are of other processes: after an error that they may not have, there is no way
  /// back; they lose contact.
  virtual void hang_up() = 0;
};

/// For ranks of this process. No memory but the mailboxes becomes visible to another device, so that
/// allocations of one never wait for kernels of another.
/// @param devices  of the ranks, in their order, none twice; each must reach all others' memory
/// @throws ArgumentError  two of one device, or more than the kernels take
/// @throws DeviceError    not a GPU, or one that does not reach another's memory
std::unique_ptr<PeerMemory> make_peer_memory(const std::vector<at::Device>& devices);

/// For a process a rank, all on this host, which may share a GPU. A process that ends or hangs up
/// ends the waiting of the others at once. All make it and destroy it at about the same time.
/// @param device  of this rank
/// @throws ArgumentError  more ranks than the kernels take
/// @throws DeviceError    not a GPU; the ranks are on several hosts, or do not reach each other's
///                        memory (on every rank)
/// @throws Error          lost contact with another rank
std::unique_ptr<PeerMemory> make_peer_memory(at::Device device, const ProcessGroup& group);

}  // namespace slice::detail
