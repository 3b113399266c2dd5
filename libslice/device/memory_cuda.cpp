// Memory for device.h: LibTorch's caching allocator and the driver's count; and asynchronous copies
// between host and device.

#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>

#include "libslice/base/detail/check.h"
#include "libslice/device/detail/cuda_status.h"
#include "libslice/device/detail/ops_cuda.h"

namespace slice::ops::on_device {
namespace {

constexpr auto kAll = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);

/// LibTorch's statistics of a device; zeros before its first allocation there.
c10::CachingDeviceAllocator::DeviceStats stats(at::Device device) {
  namespace allocator = c10::cuda::CUDACachingAllocator;
  if (!allocator::get()->initialized()) return {};
  return allocator::getDeviceStats(device.index());
}

}  // namespace

bool built() { return true; }

DeviceMemory memory(at::Device device) {
  const c10::cuda::CUDAGuard guard(device);
  size_t free = 0, total = 0;
  const cudaError_t status = cudaMemGetInfo(&free, &total);
  if (status != cudaSuccess) {
    cudaGetLastError();
    throw CudaError(detail::formatted("cudaMemGetInfo: {}", cudaGetErrorString(status)));
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

void copy_rows(const at::Tensor& to, const at::Tensor& from, c10::Stream stream) {
  const c10::cuda::CUDAGuard guard(stream.device());
  const auto element = static_cast<size_t>(to.element_size());
  check(cudaMemcpy2DAsync(to.mutable_data_ptr(), static_cast<size_t>(to.stride(1)) * element,
                          from.const_data_ptr(), static_cast<size_t>(from.stride(1)) * element,
                          static_cast<size_t>(to.size(2)) * element,
                          static_cast<size_t>(to.size(0) * to.size(1)), cudaMemcpyDefault,
                          c10::cuda::CUDAStream(stream).stream()),
        "cudaMemcpy2DAsync");
}

bool lock_pages(void* data, int64_t bytes, at::Device device) {
  const c10::cuda::CUDAGuard guard(device);
  const cudaError_t status =
      cudaHostRegister(data, static_cast<size_t>(bytes), cudaHostRegisterPortable);
  if (status != cudaSuccess) cudaGetLastError();
  return status == cudaSuccess;
}

void unlock_pages(void* data) {
  if (cudaHostUnregister(data) != cudaSuccess) cudaGetLastError();
}

}  // namespace slice::ops::on_device
