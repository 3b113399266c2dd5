// The memory side of device.h: LibTorch's caching allocator and the driver's own count.

#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAGuard.h>
#include <cuda_runtime_api.h>

#include "libslice/detail/check.h"
#include "libslice/detail/ops_cuda.h"

namespace slice::ops::on_device {
namespace {

constexpr auto kAll = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);

/// LibTorch's books of a device; empty ones before it has allocated anything there.
c10::CachingDeviceAllocator::DeviceStats stats(at::Device device) {
  namespace allocator = c10::cuda::CUDACachingAllocator;
  if (!allocator::get()->initialized()) return {};
  return allocator::getDeviceStats(device.index());
}

}  // namespace

DeviceMemory memory(at::Device device) {
  const c10::cuda::CUDAGuard guard(device);
  size_t free = 0, total = 0;
  const cudaError_t status = cudaMemGetInfo(&free, &total);
  if (status != cudaSuccess) {
    cudaGetLastError();
    throw CudaError(fmt::format("cudaMemGetInfo: {}", cudaGetErrorString(status)));
  }
  const auto books = stats(device);
  const int64_t cached = books.reserved_bytes[kAll].current - books.allocated_bytes[kAll].current;
  return {static_cast<int64_t>(free) + cached, static_cast<int64_t>(total)};
}

int64_t peak_bytes(at::Device device) { return stats(device).reserved_bytes[kAll].peak; }

void release_cached_memory() {
  namespace allocator = c10::cuda::CUDACachingAllocator;
  if (allocator::get()->initialized()) allocator::emptyCache();
}

}  // namespace slice::ops::on_device
