#include "libslice/slicing/detail/hidden_signal.h"

#include <ATen/ATen.h>

#include "libslice/device/detail/memory.h"
#include "libslice/method/joint_writer.h"
#include "libslice/slicing/cost.h"

namespace slice::detail {

using at::Tensor;

void HiddenSignal::keep(int64_t window, const Tensor& h) {
  if (refused_) return;
  if (!buffer_.defined()) {
    const int64_t bytes = windows_ * h.size(1) * h.size(2) * h.element_size();
    refused_ = bytes > hidden_signal_bytes(h.device());
    if (refused_) return;
    try {
      buffer_ = at::empty({windows_, h.size(1), h.size(2)}, h.options());
    } catch (const c10::Error& error) {
      if (!is_out_of_memory(error)) throw;
      refused_ = true;
      return;
    }
  }
  buffer_.slice(0, window, window + h.size(0)).copy_(h);
}

void HiddenSignal::select(const Tensor& channels) {
  channels_ = channels_.defined() ? channels_.index_select(0, channels) : channels;
}

Tensor HiddenSignal::of(int64_t window, const Sublayer& s, const Tensor& x) const {
  if (!buffer_.defined() || window + x.size(0) > windows_) return hidden_of(s, x);
  const Tensor h = buffer_.slice(0, window, window + x.size(0));  // (n, T, F)
  return channels_.defined() ? h.index_select(2, channels_) : h;
}

void HiddenSignal::forget() {
  buffer_ = Tensor();
  channels_ = Tensor();
  refused_ = false;
}

}  // namespace slice::detail
