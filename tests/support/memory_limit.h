#pragma once

#include <c10/cuda/CUDACachingAllocator.h>

#include <cstdint>

#include "libslice/device/detail/ops_cuda.h"
#include "libslice/device/device.h"

namespace slice::tests {

/// Lets LibTorch have `bytes` more of the first GPU than it holds, until destroyed.
class MemoryLimit {
 public:
  explicit MemoryLimit(int64_t bytes) {
    ops::on_device::release_cached_memory();
    const auto stats = c10::cuda::CUDACachingAllocator::getDeviceStats(0);
    const auto all = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
    const auto held = static_cast<double>(stats.reserved_bytes[all].current + bytes);
    const auto total = static_cast<double>(device_memory(at::Device(at::kCUDA, 0)).total);
    c10::cuda::CUDACachingAllocator::setMemoryFraction(held / total, 0);
  }
  ~MemoryLimit() { c10::cuda::CUDACachingAllocator::setMemoryFraction(1.0, 0); }
  MemoryLimit(const MemoryLimit&) = delete;
  MemoryLimit& operator=(const MemoryLimit&) = delete;
};

}  // namespace slice::tests
