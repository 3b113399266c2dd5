// The device side of detail/peer_memory.h, of a process a rank.

#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>
#include <cuda_runtime_api.h>

#include <chrono>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "cuda/peer_ranks.h"
#include "libslice/base/detail/check.h"
#include "libslice/decode/detail/lost_word.h"
#include "libslice/decode/detail/peer_memory.h"
#include "libslice/decode/detail/rank_contact.h"
#include "libslice/device/detail/cuda_status.h"
#include "libslice/device/process_group.h"

namespace slice::detail {

using at::Tensor;
using kernels::PeerRanks;
using ops::on_device::check;

namespace {

/// Of all ranks, where each has its mailbox for the others to open.
std::vector<cudaIpcMemHandle_t> handles_of_ranks(const cudaIpcMemHandle_t& own,
                                                 const ProcessGroup& group) {
  Tensor all = at::zeros({group.size(), static_cast<int64_t>(sizeof own)}, at::kByte);
  std::memcpy(all[group.rank()].mutable_data_ptr(), &own, sizeof own);
  group.gather_rows_inplace(all);
  std::vector<cudaIpcMemHandle_t> handles(static_cast<size_t>(group.size()));
  std::memcpy(handles.data(), all.const_data_ptr(), handles.size() * sizeof own);
  return handles;
}

class ProcessMemory final : public PeerMemory {
 public:
  ProcessMemory(at::Device device, const ProcessGroup& group)
      : device_(device), contact_(group, [this] { lost_.stop(); }) {
    const c10::cuda::CUDAGuard guard(device_);
    peers_.ranks = static_cast<int>(group.size());
    peers_.rank = static_cast<int>(group.rank());
    peers_.lost = lost_.on_device();
    peers_.patience_ns = std::chrono::nanoseconds(kPeerPatience).count();
    try {
      open(group);
    } catch (...) {
      contact_.hang_up();
      free();
      throw;
    }
  }
  /// A mailbox is freed when no other rank has it open any more.
  ~ProcessMemory() override {
    lost_.stop();
    close();
    contact_.leave();
    free();
  }

  const PeerRanks& of_rank(int64_t rank) const override {
    if (rank != peers_.rank) throw std::out_of_range("peer memory: a rank of another process");
    return peers_;
  }
  void stop() override { lost_.stop(); }
  void check_contact() const override { lost_.check(); }
  void reset() override {}
  void hang_up() override { contact_.hang_up(); }

 private:
  /// Makes this rank's mailbox and opens those of the others, on all ranks or on none: a rank that
  /// cannot takes part to the end, so that none waits for it.
  void open(const ProcessGroup& group) {
    cudaIpcMemHandle_t own = {};
    std::string problem = problem_of([&] {
      const size_t bytes = kernels::peer_mailbox_bytes(peers_.ranks);
      void*& mailbox = peers_.mailboxes[peers_.rank];
      check(cudaMalloc(&mailbox, bytes), "cudaMalloc");
      check(cudaMalloc(&peers_.counters, kernels::peer_counter_bytes()), "cudaMalloc");
      check(cudaMemset(mailbox, 0, bytes), "cudaMemset");
      check(cudaMemset(peers_.counters, 0, kernels::peer_counter_bytes()), "cudaMemset");
      check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
      check(cudaIpcGetMemHandle(&own, mailbox), "cudaIpcGetMemHandle");
    });
    agree(group, problem);
    const std::vector<cudaIpcMemHandle_t> handles = handles_of_ranks(own, group);
    problem = problem_of([&] {
      for (int rank = 0; rank < peers_.ranks; ++rank) {
        if (rank == peers_.rank) continue;
        void* opened = nullptr;
        check(cudaIpcOpenMemHandle(&opened, handles[static_cast<size_t>(rank)],
                                   cudaIpcMemLazyEnablePeerAccess),
              "cudaIpcOpenMemHandle");
        peers_.mailboxes[rank] = opened;
      }
    });
    agree(group, problem);
  }

  static std::string problem_of(const std::function<void()>& calls) {
    try {
      calls();
    } catch (const std::exception& error) {
      return error.what();
    }
    return "";
  }

  static void agree(const ProcessGroup& group, const std::string& problem) {
    const double failed = group.sum(problem.empty() ? 0.0 : 1.0);
    SLICE_CHECK_AS(DeviceError, failed == 0, "several GPUs: their memory is not within reach: {}",
                   problem.empty() ? "another rank says so" : problem);
  }

  /// The other ranks' mailboxes.
  void close() noexcept {
    const c10::cuda::CUDAGuard guard(device_);
    cudaDeviceSynchronize();
    for (int rank = 0; rank < peers_.ranks; ++rank)
      if (rank != peers_.rank && peers_.mailboxes[rank] != nullptr)
        cudaIpcCloseMemHandle(std::exchange(peers_.mailboxes[rank], nullptr));
    cudaGetLastError();  // of a device that has failed
  }

  void free() noexcept {
    close();
    const c10::cuda::CUDAGuard guard(device_);
    if (peers_.counters != nullptr) cudaFree(peers_.counters);
    if (peers_.mailboxes[peers_.rank] != nullptr) cudaFree(peers_.mailboxes[peers_.rank]);
    cudaGetLastError();
  }

  at::Device device_;
  LostWord lost_;
  PeerRanks peers_;
  RankContact contact_;  // last: it calls lost_
};

}  // namespace

std::unique_ptr<PeerMemory> make_peer_memory(at::Device device, const ProcessGroup& group) {
  SLICE_CHECK_AS(DeviceError, device.is_cuda() && device.has_index(), "device {}: want a GPU",
                 device.str());
  SLICE_ARGUMENT_CHECK(group.size() <= kernels::kMostPeerRanks,
                       "several GPUs: want {} ranks at most, got {}", kernels::kMostPeerRanks,
                       group.size());
  return std::make_unique<ProcessMemory>(device, group);
}

}  // namespace slice::detail
