// The device side of detail/peer_memory.h, of a process a rank.

#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>
#include <cuda_runtime_api.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <string>
#include <thread>

#include "cuda/peer_ranks.h"
#include "libslice/base/detail/check.h"
#include "libslice/decode/detail/lost_word.h"
#include "libslice/decode/detail/peer_memory.h"
#include "libslice/device/detail/cuda_status.h"
#include "libslice/device/process_group.h"

namespace slice::detail {

using at::Tensor;
using kernels::PeerRanks;
using ops::on_device::check;

namespace {

/// What a rank tells the others of itself.
struct Introduction {
  cudaIpcMemHandle_t mailbox;
  char host[64];  // an id of the running kernel: the same on one host
  int64_t process;
};

Introduction introduction(const void* mailbox) {
  Introduction own = {};
  check(cudaIpcGetMemHandle(&own.mailbox, const_cast<void*>(mailbox)), "cudaIpcGetMemHandle");
  std::string host;
  std::getline(std::ifstream("/proc/sys/kernel/random/boot_id"), host);
  std::strncpy(own.host, host.c_str(), sizeof own.host - 1);
  own.process = getpid();
  return own;
}

/// Those of all ranks.
std::vector<Introduction> introduced(const Introduction& own, const ProcessGroup& group) {
  Tensor all = at::zeros({group.size(), static_cast<int64_t>(sizeof own)}, at::kByte);
  std::memcpy(all[group.rank()].mutable_data_ptr(), &own, sizeof own);
  group.gather_rows_inplace(all);
  std::vector<Introduction> result(static_cast<size_t>(group.size()));
  std::memcpy(result.data(), all.const_data_ptr(), result.size() * sizeof own);
  return result;
}

/// A file descriptor, or nothing.
class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  ~Descriptor() {
    if (number_ >= 0) close(number_);
  }
  int get() const { return number_; }

 private:
  int number_;
};

/// A thread that calls `ended` when one of some processes ends; where the system cannot watch them,
/// none.
class Watch {
 public:
  Watch(const std::vector<int64_t>& processes, std::function<void()> ended)
      : leave_(eventfd(0, EFD_CLOEXEC)) {
    for (const int64_t process : processes)
      processes_.emplace_back(static_cast<int>(syscall(SYS_pidfd_open, process, 0)));
    thread_ = std::thread([this, call = std::move(ended)] { watch(call); });
  }
  ~Watch() {
    const uint64_t one = 1;
    const ssize_t ignored = write(leave_.get(), &one, sizeof one);
    static_cast<void>(ignored);
    thread_.join();
  }

 private:
  void watch(const std::function<void()>& ended) const {
    std::vector<pollfd> all = {{leave_.get(), POLLIN, 0}};
    for (const Descriptor& process : processes_) all.push_back({process.get(), POLLIN, 0});
    while (poll(all.data(), all.size(), -1) < 0 && errno == EINTR) {
    }
    if (all[0].revents == 0) ended();
  }

  Descriptor leave_;
  std::vector<Descriptor> processes_;
  std::thread thread_;
};

class ProcessMemory final : public PeerMemory {
 public:
  ProcessMemory(at::Device device, const ProcessGroup& group) : device_(device), group_(group) {
    const c10::cuda::CUDAGuard guard(device_);
    peers_.ranks = static_cast<int>(group.size());
    peers_.rank = static_cast<int>(group.rank());
    peers_.lost = lost_.on_device();
    peers_.patience_ns = std::chrono::nanoseconds(kPeerPatience).count();
    const size_t bytes = kernels::peer_mailbox_bytes(peers_.ranks);
    try {
      check(cudaMalloc(&peers_.mailboxes[peers_.rank], bytes), "cudaMalloc");
      check(cudaMalloc(&peers_.counters, kernels::peer_counter_bytes()), "cudaMalloc");
      check(cudaMemset(peers_.mailboxes[peers_.rank], 0, bytes), "cudaMemset");
      check(cudaMemset(peers_.counters, 0, kernels::peer_counter_bytes()), "cudaMemset");
      check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
      open(introduced(introduction(peers_.mailboxes[peers_.rank]), group));
    } catch (...) {
      free();
      throw;
    }
  }
  ~ProcessMemory() override {
    watch_.reset();
    lost_.stop();
    free();
  }

  const PeerRanks& of_rank(int64_t rank) const override {
    if (rank != peers_.rank) throw std::out_of_range("peer memory: a rank of another process");
    return peers_;
  }
  void stop() override { lost_.stop(); }
  void check_contact() const override { lost_.check(); }
  /// The others may have sent more than this rank has seen: there is no way back.
  void reset() override {}

 private:
  /// Opens the other ranks' mailboxes, on all ranks or on none.
  void open(const std::vector<Introduction>& ranks) {
    const auto own = static_cast<size_t>(peers_.rank);
    std::vector<int64_t> others;
    std::string problem;
    for (size_t rank = 0; rank < ranks.size() && problem.empty(); ++rank) {
      if (rank == own) continue;
      if (std::memcmp(ranks[rank].host, ranks[own].host, sizeof ranks[own].host) != 0) {
        problem = formatted("rank {} is on another host", rank);
        break;
      }
      others.push_back(ranks[rank].process);
      const cudaError_t status = cudaIpcOpenMemHandle(&peers_.mailboxes[rank], ranks[rank].mailbox,
                                                      cudaIpcMemLazyEnablePeerAccess);
      if (status == cudaSuccess) continue;
      cudaGetLastError();
      peers_.mailboxes[rank] = nullptr;
      problem = formatted("cudaIpcOpenMemHandle: {}", cudaGetErrorString(status));
    }
    const double failed = group_.sum(problem.empty() ? 0.0 : 1.0);
    SLICE_CHECK_AS(DeviceError, failed == 0, "several GPUs: their memory is not within reach: {}",
                   problem.empty() ? "another rank says so" : problem);
    watch_ = std::make_unique<Watch>(others, [this] { lost_.stop(); });
  }

  void free() noexcept {
    const c10::cuda::CUDAGuard guard(device_);
    cudaDeviceSynchronize();
    for (int rank = 0; rank < peers_.ranks; ++rank)
      if (rank != peers_.rank && peers_.mailboxes[rank] != nullptr)
        cudaIpcCloseMemHandle(peers_.mailboxes[rank]);
    if (peers_.counters != nullptr) cudaFree(peers_.counters);
    if (peers_.mailboxes[peers_.rank] != nullptr) cudaFree(peers_.mailboxes[peers_.rank]);
    cudaGetLastError();  // of a device that has failed
  }

  at::Device device_;
  ProcessGroup group_;
  LostWord lost_;
  PeerRanks peers_;
  std::unique_ptr<Watch> watch_;
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
