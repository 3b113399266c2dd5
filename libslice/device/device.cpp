#include "libslice/device/device.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>
#include <optional>

#include "libslice/base/detail/check.h"
#include "libslice/device/detail/ops_cuda.h"

namespace slice {
namespace {

int64_t gpus() {
  const bool usable = ops::on_device::built() && at::hasCUDA();
  return usable ? static_cast<int64_t>(at::getNumGPUs()) : 0;
}

void check_gpu(at::Device device) {
  SLICE_CHECK_AS(DeviceError,
                 device.is_cuda() && std::max<int>(device.index(), 0) < static_cast<int>(gpus()),
                 "{}: no such device: this process sees {} GPUs{}", device.str(), gpus(),
                 ops::on_device::built() ? "" : ", and this libslice was built without CUDA");
}

/// The number after a word in a file of the kernel, or its first number.
std::optional<int64_t> number_in(const std::string& path, const std::string& word = "") {
  std::ifstream file(path);
  for (std::string text; word.empty() || file >> text;) {
    int64_t number = 0;
    if (text != word) continue;
    if (file >> number) return number;
    break;
  }
  return std::nullopt;
}

/// The rest of a limit; pages of files that the kernel can drop do not count as used.
int64_t left_of(const std::string& group, const char* limit, const char* used, const char* cached) {
  const auto most = number_in(group + limit), held = number_in(group + used);
  if (!most || !held) return std::numeric_limits<int64_t>::max();  // "max", or no such group
  return std::max<int64_t>(0, *most - *held + number_in(group + "memory.stat", cached).value_or(0));
}

/// The smallest rest of this process's control group and those above it; `controller` is empty for
/// the one hierarchy of version 2.
int64_t left_of_groups(const std::string& mount, const std::string& controller, const char* limit,
                       const char* used, const char* cached) {
  int64_t least = left_of(mount + "/", limit, used, cached);  // a container's own
  std::ifstream file("/proc/self/cgroup");                    // "0::/path", "4:memory:/path"
  for (std::string line; std::getline(file, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == line.npos || line.substr(first + 1, second - first - 1) != controller) continue;
    std::filesystem::path group = line.substr(second + 1);
    for (; group.has_relative_path(); group = group.parent_path())
      least = std::min(least, left_of(mount + group.string() + "/", limit, used, cached));
  }
  return least;
}

int64_t free_host_bytes() {
  const int64_t system = number_in("/proc/meminfo", "MemAvailable:")
                             .value_or(std::numeric_limits<int64_t>::max() / 1024) *
                         1024;
  return std::min(
      {system,
       left_of_groups("/sys/fs/cgroup", "", "memory.max", "memory.current", "inactive_file"),
       left_of_groups("/sys/fs/cgroup/memory", "memory", "memory.limit_in_bytes",
                      "memory.usage_in_bytes", "total_inactive_file")});
}

}  // namespace

std::optional<at::Device> parse_device(const std::string& name) {
  if (name == "auto") return std::nullopt;
  if (name == "cpu") return at::kCPU;
  if (name == "cuda") return at::kCUDA;
  const std::string prefix = "cuda:", digits = name.starts_with(prefix) ? name.substr(5) : "";
  SLICE_CHECK_AS(DeviceError,
                 !digits.empty() && digits.size() <= 2 &&
                     digits.find_first_not_of("0123456789") == std::string::npos,
                 "want auto, cpu, cuda or cuda:0 … as a device, got {}", name);
  return at::Device(at::kCUDA, static_cast<at::DeviceIndex>(std::stoi(digits)));
}

at::Device choose_device(std::optional<at::Device> wanted) {
  if (!wanted) wanted = gpus() > 0 ? at::kCUDA : at::kCPU;
  if (wanted->is_cpu()) return at::kCPU;
  check_gpu(*wanted);
  return at::Device(at::kCUDA, std::max<at::DeviceIndex>(wanted->index(), 0));
}

DeviceMemory device_memory(at::Device device) {
  check_gpu(device);
  return ops::on_device::memory(device);
}

FreeMemory free_memory(at::Device device) {
  const int64_t host = free_host_bytes();
  return device.is_cuda() ? FreeMemory{device_memory(device).free, host} : FreeMemory{host, 0};
}

int64_t peak_device_bytes(at::Device device) {
  return device.is_cuda() ? ops::on_device::peak_bytes(device) : 0;
}

}  // namespace slice
