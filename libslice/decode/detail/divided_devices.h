#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "libslice/decode/detail/peer_memory.h"
#include "libslice/decode/detail/rank_link.h"
#include "libslice/decode/detail/rank_share.h"
#include "libslice/decode/detail/rank_threads.h"

namespace slice {
class DecoderImpl;
}

namespace slice::detail {

/// The parts of a DividedModel that this process drives, one a GPU, and the threads and the memory
/// by which they work together. Parts are numbered within the process.
class DividedDevices {
 public:
  /// A rank's part of a parameter, on its device.
  using MakeWeight =
      std::function<at::Tensor(const std::string& name, const RankShare& share, at::Device device)>;

  /// Throws as DividedModel does. @param whole  needs no memory
  DividedDevices(const DecoderImpl& whole, const std::vector<at::Device>& devices,
                 const MakeWeight& weight);
  /// Frees the parts by their threads.
  ~DividedDevices();
  /// One part, of a process a rank.
  DividedDevices(const DecoderImpl& whole, const ProcessGroup& group, at::Device device,
                 const MakeWeight& weight);
  DividedDevices(const DividedDevices&) = delete;

  const std::vector<at::Device>& devices() const { return devices_; }
  int64_t parts() const { return std::ssize(devices_); }
  /// Those of other processes counted.
  int64_t ranks() const { return ranks_; }
  const DecoderImpl& decoder(int64_t part) const { return *parts_.at(part).decoder; }
  const RankLink& link(int64_t part) const { return *parts_.at(part).link; }

  /// Runs task(part) for every part by its thread; calls come one after the other. After an error,
  /// which is that of the first part that failed, they may work on where all parts are of this
  /// process, or where it was an ArgumentError or a NumericError, which all processes have.
  /// @throws Error  lost contact with another GPU
  void run(const std::function<void(int64_t part)>& task);

 private:
  void make_parts(const DecoderImpl& whole, int64_t first_rank, const MakeWeight& weight);

  struct Part {
    std::shared_ptr<DecoderImpl> decoder;
    std::unique_ptr<RankLink> link;
  };

  std::vector<at::Device> devices_;
  int64_t ranks_;
  std::unique_ptr<PeerMemory> memory_;
  std::vector<Part> parts_;
  std::mutex turn_;
  RankThreads threads_;  // last: they go first
};

}  // namespace slice::detail
