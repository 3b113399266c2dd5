#pragma once

#include <c10/core/Device.h>

#include <cstdint>

namespace slice::detail {

/// Host memory that a GPU reads and writes directly; pageable memory where the driver does not lock
/// it, and for the CPU. LibTorch's allocator of pinned memory rounds up to powers of two and keeps
/// memory until the process ends, too much for a signal of tens of gigabytes.
class LockedMemory {
 public:
  /// @throws std::bad_alloc
  LockedMemory(int64_t bytes, c10::Device device);
  LockedMemory(const LockedMemory&) = delete;
  ~LockedMemory();

  void* data() const { return data_; }

 private:
  void* data_ = nullptr;
  int64_t bytes_;
  bool locked_ = false;
};

}  // namespace slice::detail
