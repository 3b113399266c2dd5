#pragma once

#include <c10/core/Device.h>
#include <c10/core/Stream.h>

#include <optional>

namespace slice::detail {

/// For the last member of an object that holds a device's memory: LibTorch's allocator gives memory
/// that is freed to the next who asks on the stream where it was allocated, though another stream
/// may still be at work with it. So where calls came on streams other than the first, destroying
/// this waits for the last one. (What one call leaves to the next orders the streams before it.)
class LastStream {
 public:
  /// Notes the device's current stream, on which the object's memory is allocated.
  explicit LastStream(c10::Device device);
  LastStream(const LastStream&) = delete;
  ~LastStream();

  /// A call begins on the device's current stream.
  void note();

 private:
  c10::Device device_;
  std::optional<c10::Stream> last_;  // nothing on the CPU
  bool differs_ = false;
};

}  // namespace slice::detail
