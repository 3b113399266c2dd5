// The device side of detail/peer_memory.h, of ranks of one process.

#include <c10/cuda/CUDAGuard.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <chrono>

#include "cuda/peer_ranks.h"
#include "libslice/base/detail/check.h"
#include "libslice/decode/detail/lost_word.h"
#include "libslice/decode/detail/peer_memory.h"
#include "libslice/device/detail/cuda_status.h"

namespace slice::detail {

using kernels::PeerRanks;
using ops::on_device::check;

namespace {

void check_devices(const std::vector<at::Device>& devices) {
  SLICE_ARGUMENT_CHECK(!devices.empty() && std::ssize(devices) <= kernels::kMostPeerRanks,
                       "devices: want 1 … {}, got {}", kernels::kMostPeerRanks, devices.size());
  for (const at::Device& device : devices) {
    SLICE_CHECK_AS(DeviceError, device.is_cuda() && device.has_index(), "device {}: want a GPU",
                   device.str());
    SLICE_ARGUMENT_CHECK(std::ranges::count(devices, device) == 1, "device {}: named twice",
                         device.str());
  }
  for (const at::Device& device : devices) {
    for (const at::Device& other : devices) {
      if (other == device) continue;
      int reaches = 0;
      check(cudaDeviceCanAccessPeer(&reaches, device.index(), other.index()),
            "cudaDeviceCanAccessPeer");
      SLICE_CHECK_AS(DeviceError, reaches != 0, "device {} does not reach the memory of {}",
                     device.str(), other.str());
    }
  }
}

cudaMemLocation location_of(at::Device device) {
  cudaMemLocation location = {};
  location.type = cudaMemLocationTypeDevice;
  location.id = device.index();
  return location;
}

/// What one rank reads, from a pool of its own that the other ranks' devices may write to.
struct Mailbox {
  Mailbox(at::Device on, const std::vector<at::Device>& devices) : device(on) {
    const c10::cuda::CUDAGuard guard(device);
    bytes = kernels::peer_mailbox_bytes(static_cast<int>(devices.size()));
    cudaMemPoolProps properties = {};
    properties.allocType = cudaMemAllocationTypePinned;
    properties.location = location_of(device);
    check(cudaMemPoolCreate(&pool, &properties), "cudaMemPoolCreate");
    try {
      for (const at::Device& other : devices) {
        if (other == device) continue;
        cudaMemAccessDesc access = {};
        access.location = location_of(other);
        access.flags = cudaMemAccessFlagsProtReadWrite;
        check(cudaMemPoolSetAccess(pool, &access, 1), "cudaMemPoolSetAccess");
      }
      check(cudaMallocFromPoolAsync(&numbers, bytes, pool, nullptr), "cudaMallocFromPoolAsync");
      check(cudaMalloc(&counters, kernels::peer_counter_bytes()), "cudaMalloc");
      clear();
    } catch (...) {
      free();
      throw;
    }
  }
  ~Mailbox() { free(); }
  Mailbox(const Mailbox&) = delete;

  /// Waits for the device.
  void clear() const {
    const c10::cuda::CUDAGuard guard(device);
    check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
    check(cudaMemset(numbers, 0, bytes), "cudaMemset");
    check(cudaMemset(counters, 0, kernels::peer_counter_bytes()), "cudaMemset");
    check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
  }

  void wait() const noexcept {
    const c10::cuda::CUDAGuard guard(device);
    cudaDeviceSynchronize();
  }

  void free() noexcept {
    const c10::cuda::CUDAGuard guard(device);
    if (counters != nullptr) cudaFree(counters);
    if (numbers != nullptr) cudaFreeAsync(numbers, nullptr);
    cudaDeviceSynchronize();
    cudaMemPoolDestroy(pool);
    cudaGetLastError();  // of a device that has failed
  }

  at::Device device;
  cudaMemPool_t pool = nullptr;
  size_t bytes = 0;
  void *numbers = nullptr, *counters = nullptr;
};

class DevicesMemory final : public PeerMemory {
 public:
  explicit DevicesMemory(const std::vector<at::Device>& devices) {
    for (const at::Device& device : devices)
      mailboxes_.push_back(std::make_unique<Mailbox>(device, devices));
    for (size_t rank = 0; rank < devices.size(); ++rank) {
      PeerRanks peers;
      peers.ranks = static_cast<int>(devices.size());
      peers.rank = static_cast<int>(rank);
      for (size_t other = 0; other < devices.size(); ++other)
        peers.mailboxes[other] = mailboxes_[other]->numbers;
      peers.counters = mailboxes_[rank]->counters;
      peers.lost = lost_.on_device();
      peers.patience_ns = std::chrono::nanoseconds(kPeerPatience).count();
      ranks_.push_back(peers);
    }
  }
  ~DevicesMemory() override {
    lost_.stop();                                            // who still waits
    for (const auto& mailbox : mailboxes_) mailbox->wait();  // for who writes to any of them
  }

  const PeerRanks& of_rank(int64_t rank) const override {
    return ranks_.at(static_cast<size_t>(rank));
  }
  void stop() override { lost_.stop(); }
  void check_contact() const override { lost_.check(); }
  void reset() override {
    for (const auto& mailbox : mailboxes_) mailbox->wait();
    for (const auto& mailbox : mailboxes_) mailbox->clear();
    lost_.clear();
  }
  void hang_up() override {}

 private:
  LostWord lost_;
  std::vector<std::unique_ptr<Mailbox>> mailboxes_;
  std::vector<PeerRanks> ranks_;
};

}  // namespace

std::unique_ptr<PeerMemory> make_peer_memory(const std::vector<at::Device>& devices) {
  check_devices(devices);
  return std::make_unique<DevicesMemory>(devices);
}

}  // namespace slice::detail
