#include "libslice/method/signal.h"

#include <ATen/ATen.h>
#include <ATen/OpMathType.h>

#include <algorithm>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/tensor_text.h"
#include "libslice/device/detail/memory.h"
#include "libslice/method/detail/signal_rows.h"
#include "libslice/method/detail/split_basis.h"

namespace slice {

using at::Tensor;

const char* signal_place_name(SignalPlace place) {
  if (place == SignalPlace::kDevice) return "device";
  return place == SignalPlace::kHost ? "host" : "disk";
}

SignalPlace signal_place(int64_t signal_bytes, int64_t working_bytes, const FreeMemory& free) {
  if (signal_bytes <= free.device - working_bytes) return SignalPlace::kDevice;
  return signal_bytes <= free.host / 5 * 4 ? SignalPlace::kHost : SignalPlace::kDisk;
}

Signal::Signal(const Tensor& tokens, int64_t chunk_tokens, const Step& embed, SignalOptions options)
    : options_(std::move(options)) {
  check_tokens(tokens);
  room_ = {tokens.size(0), tokens.size(1), 0};
  set_chunk_tokens(chunk_tokens);
  in_chunks(0, windows(), [&](int64_t begin, int64_t end) {
    const Tensor embedded = embed(tokens.slice(0, begin, end));  // (n, T, D)
    if (!rows_) {
      room_[2] = width_ = embedded.size(2);
      place_rows(embedded.options());
    }
    rows_->write(begin, embedded);
  });
}

Signal::Signal(at::IntArrayRef room, const at::TensorOptions& tensors, int64_t width,
               int64_t chunk_tokens, const Rows& saved, SignalOptions options)
    : options_(std::move(options)), room_(room.vec()), width_(width) {
  set_chunk_tokens(chunk_tokens);
  place_rows(tensors);
  in_chunks(0, windows(),
            [&](int64_t begin, int64_t end) { rows_->write(begin, saved(begin, end)); });
}

Signal::Signal(Signal&&) noexcept = default;
Signal::~Signal() = default;

void Signal::place_rows(const at::TensorOptions& tensors) {
  tensors_ = tensors;
  if (options_.place) {
    place_ = *options_.place;
  } else {
    FreeMemory free = free_memory(tensors.device());
    (tensors.device().is_cpu() ? free.device : free.host) /= options_.processes;
    place_ = signal_place(room_bytes(), options_.working_bytes, free);
  }
  detail::name_memory(
      detail::formatted("the signal of {} calibration tokens", tokens()), tensors.device(),
      [&] { rows_ = detail::make_signal_rows(place_, room_, tensors_, options_.scratch); });
}

void Signal::check_tokens(const Tensor& tokens) {
  SLICE_CHECK(tokens.dim() == 2 && tokens.numel() > 0 && tokens.scalar_type() == at::kLong,
              "calibration tokens: want (N, T) int64, got {}", detail::describe(tokens));
}

void Signal::transform(const Step& step) {
  int64_t width = width_;
  in_chunks(0, windows(), [&](int64_t begin, int64_t end) {
    const Tensor out = step(chunk(begin, end, windows()));  // (n, T, width)
    width = out.size(2);
    rows_->write(begin, out);
  });
  width_ = width;
}

void Signal::project(const Tensor& P) {
  if (tensors_.device().is_cuda() && (dtype() == at::kHalf || dtype() == at::kBFloat16)) {
    const detail::SplitBasis split(P, dtype());
    transform([&split](const Tensor& z) { return split.product(z); });
    return;
  }
  const Tensor basis = P.to(at::toOpMathType(dtype()));
  transform([&basis](const Tensor& z) { return at::matmul(z.to(basis.scalar_type()), basis); });
}

void Signal::visit(const std::function<void(const Tensor&)>& see) {
  in_chunks(0, windows(), [&](int64_t begin, int64_t end) { see(chunk(begin, end, windows())); });
}

void Signal::visit_beside(const Signal& other, int64_t first, int64_t last,
                          const std::function<void(const Tensor&, const Tensor&)>& see) {
  in_chunks(first, last, [&](int64_t begin, int64_t end) {
    try {
      const Tensor own = chunk(begin, end, last);
      see(own, other.chunk(begin, end, last));
    } catch (const c10::Error&) {
      other.rows_->release();  // in_chunks releases our own
      throw;
    }
  });
}

Tensor Signal::chunk(int64_t begin, int64_t end, int64_t last) const {
  const Tensor rows = rows_->read(begin, end, width_);
  const int64_t next = std::min(end + (end - begin), last);
  if (next > end) rows_->fetch(end, next, width_);
  return rows;
}

Tensor Signal::rows(int64_t begin, int64_t end) const { return chunk(begin, end, end); }

int64_t Signal::bytes() const {
  return tokens() * width_ * static_cast<int64_t>(tensors_.dtype().itemsize());
}

int64_t Signal::room_bytes() const {
  return tokens() * room_[2] * static_cast<int64_t>(tensors_.dtype().itemsize());
}

Signal Signal::clone() const {
  return Signal(
      room_, tensors_, width_, chunk_tokens(),
      [this](int64_t begin, int64_t end) { return rows(begin, end); }, options_);
}

void Signal::set_chunk_tokens(int64_t chunk_tokens) {
  chunk_windows_ = std::max<int64_t>(1, chunk_tokens / window_tokens());
}

void Signal::in_chunks(int64_t first, int64_t last,
                       const std::function<void(int64_t, int64_t)>& step) {
  for (int64_t begin = first; begin < last;) {
    const int64_t end = std::min(begin + chunk_windows_, last);
    try {
      step(begin, end);
      begin = end;
    } catch (const c10::Error& error) {
      if (!detail::is_out_of_memory(error)) throw;
      if (end - begin == 1) {
        throw DeviceError(detail::formatted("no memory for one window of {} tokens: {}",
                                            window_tokens(), detail::first_sentence(error)));
      }
      if (rows_) rows_->release();
      chunk_windows_ = (end - begin) / 2;
      if (options_.on_smaller_chunks) options_.on_smaller_chunks(chunk_windows_ * window_tokens());
    }
  }
}

}  // namespace slice
