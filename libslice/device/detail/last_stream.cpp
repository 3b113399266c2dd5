#include "libslice/device/detail/last_stream.h"

#include <c10/core/impl/VirtualGuardImpl.h>

#include <exception>

namespace slice::detail {

LastStream::LastStream(c10::Device device) : device_(device) {
  if (device_.is_cuda()) last_ = c10::impl::VirtualGuardImpl(device_.type()).getStream(device_);
}

LastStream::~LastStream() {
  if (!last_ || !differs_) return;
  try {
    c10::impl::VirtualGuardImpl(device_.type()).synchronizeStream(*last_);
  } catch (const std::exception&) {  // of the device: the next call meets it again
  }
}

void LastStream::note() {
  if (!last_) return;
  const c10::Stream current = c10::impl::VirtualGuardImpl(device_.type()).getStream(device_);
  differs_ = differs_ || current != *last_;
  last_ = current;
}

}  // namespace slice::detail
