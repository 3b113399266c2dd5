#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

namespace slice::kernels {
struct PeerRanks;
}

namespace slice::detail {

/// Memory that GPUs of one host write to each other, for cuda/peer_ranks.h: one mailbox a rank.
class PeerMemory {
 public:
  virtual ~PeerMemory() = default;

  /// @throws std::out_of_range  no such rank
  virtual const kernels::PeerRanks& of_rank(int64_t rank) const = 0;
  /// Ends all waiting of kernels for other ranks, from any thread; what they compute is of no use
  /// from then on.
  virtual void stop() = 0;
  /// @throws Error  the kernels of a rank wait no more: stop() was called, or another rank did not
  ///                come in time
  virtual void check_contact() const = 0;
  /// After an error of a call, when no rank works any more: as new.
  /// @throws CudaError  a device has failed
  virtual void reset() = 0;
};

/// No memory but the mailboxes becomes visible to another device, so that
/// allocations of one never wait for kernels of another.
/// @param devices  of the ranks, in their order, none twice; each must reach all others' memory
/// @throws ArgumentError  two of one device, or more than the kernels take
/// @throws DeviceError    not a GPU, or one that does not reach another's memory
std::unique_ptr<PeerMemory> make_peer_memory(const std::vector<at::Device>& devices);

}  // namespace slice::detail
