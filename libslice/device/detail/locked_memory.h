#pragma once

#include <c10/core/Device.h>

#include <cstdint>

namespace slice::detail {

/// Host memory that a GPU copies from and to by itself; plain memory where the driver does not lock
/// it, and for the CPU. LibTorch's own allocator of such memory rounds up to powers of two and
/// keeps it to the end of the process, which a signal of tens of gigabytes cannot afford.
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
