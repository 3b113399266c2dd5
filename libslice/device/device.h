#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>

namespace slice {

/// The device of a name: "cpu", "cuda" (any GPU: a device without an index), "cuda:1"; nothing for
/// "auto". Asks no driver.
/// @throws DeviceError  another name
std::optional<at::Device> parse_device(const std::string& name);

/// The device to compute on, a GPU with its index: `wanted`, or the first GPU where that has no
/// index; without `wanted` the first GPU where there is one, else the CPU.
/// @throws DeviceError  neither the CPU nor a GPU that this process sees
at::Device choose_device(std::optional<at::Device> wanted = std::nullopt);

/// Memory of a GPU in bytes.
struct DeviceMemory {
  int64_t free = 0;   ///< what this process can still allocate, with LibTorch's cache
  int64_t total = 0;  ///< of the card
};

/// @throws DeviceError  not a GPU, or one that this process does not see
DeviceMemory device_memory(at::Device device);

/// Memory that this process can still allocate, in bytes: on the device that computes, and on the
/// host next to it, 0 where that device is the CPU. Of the host: what the system reports as
/// available, or the rest of the process's control group, whichever is less.
struct FreeMemory {
  int64_t device = 0, host = 0;
};

/// @throws DeviceError  a GPU that this process does not see
FreeMemory free_memory(at::Device device);

/// The most memory that LibTorch's allocator has held on a device, in bytes; 0 on the CPU. Without
/// the CUDA context and its libraries (some hundred MB).
int64_t peak_device_bytes(at::Device device);

}  // namespace slice
