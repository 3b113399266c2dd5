#include "libslice/device/detail/memory.h"

#include <cstdlib>  // defines __GLIBC__
#include <string_view>

#include "libslice/base/detail/check.h"
#include "libslice/device/device.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace slice::detail {

void release_free_memory() {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

std::string first_sentence(const c10::Error& error) {
  const std::string text = error.what_without_backtrace();
  return text.substr(0, std::min(text.find(". "), text.find('\n')));
}

bool is_out_of_memory(const c10::Error& error) {
  if (dynamic_cast<const c10::OutOfMemoryError*>(&error) != nullptr) return true;
  const std::string text = error.what_without_backtrace();
  return text.find("out of memory") != std::string::npos ||
         text.find("ALLOC_FAILED") != std::string::npos;
}

bool is_host_out_of_memory(const c10::Error& error) {
  return std::string(error.what_without_backtrace()).find("DefaultCPUAllocator") !=
         std::string::npos;
}

std::string host_reason(const c10::Error& error) {
  const std::string text = error.what_without_backtrace();
  constexpr std::string_view kBefore = "you tried to allocate ";
  const size_t begin = text.find(kBefore);
  if (begin == std::string::npos) return "out of memory";
  const size_t number = begin + kBefore.size();
  return detail::formatted("no memory for {}",
                           text.substr(number, text.find('.', number) - number));
}

void throw_out_of_memory(const std::string& what, c10::Device device, const std::string& reason) {
  std::string room;
  if (device.is_cuda()) {
    try {
      const DeviceMemory memory = device_memory(device);
      room = detail::formatted(" ({:.2f} GiB free of {:.2f} GiB)",
                               static_cast<double>(memory.free) / 0x1p30,
                               static_cast<double>(memory.total) / 0x1p30);
    } catch (const std::exception&) {  // so little memory that the driver does not answer
    }
  }
  throw DeviceError(
      detail::formatted("{} does not fit on {}{}: {}", what, device.str(), room, reason));
}

}  // namespace slice::detail
