#include "libslice/device.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "libslice/detail/check.h"
#include "libslice/detail/ops_cuda.h"

namespace slice {
namespace {

int64_t gpus() { return at::hasCUDA() ? static_cast<int64_t>(at::getNumGPUs()) : 0; }

void check_gpu(at::Device device) {
  SLICE_CHECK_AS(DeviceError,
                 device.is_cuda() && std::max<int>(device.index(), 0) < static_cast<int>(gpus()),
                 "{}: no such device: this process sees {} GPUs", device.str(), gpus());
}

}  // namespace

at::Device choose_device(const std::string& name) {
  if (name == "auto") return gpus() > 0 ? at::Device(at::kCUDA, 0) : at::Device(at::kCPU);
  if (name == "cpu") return at::kCPU;
  const std::string prefix = "cuda:", digits = name.substr(0, 5) == prefix ? name.substr(5) : "0";
  const bool number = !digits.empty() && digits.size() <= 2 &&
                      digits.find_first_not_of("0123456789") == std::string::npos;
  SLICE_CHECK_AS(DeviceError, (name == "cuda" || name.substr(0, 5) == prefix) && number,
                 "device: want auto, cpu, cuda or cuda:0 …, got {}", name);
  const at::Device device(at::kCUDA, static_cast<at::DeviceIndex>(std::stoi(digits)));
  check_gpu(device);
  return device;
}

DeviceMemory device_memory(at::Device device) {
  check_gpu(device);
  return ops::on_device::memory(device);
}

int64_t peak_device_bytes(at::Device device) {
  return device.is_cuda() ? ops::on_device::peak_bytes(device) : 0;
}

}  // namespace slice
