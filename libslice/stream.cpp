#include "libslice/stream.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "libslice/detail/check.h"
#include "libslice/detail/memory.h"
#include "libslice/detail/split_basis.h"
#include "libslice/detail/tensor_text.h"

namespace slice {

using at::Tensor;

Stream::Stream(const Tensor& tokens, int64_t chunk_tokens, const Step& embed,
               std::function<void(int64_t)> on_smaller_chunks)
    : on_smaller_chunks_(std::move(on_smaller_chunks)) {
  check_tokens(tokens);
  const int64_t N = tokens.size(0), T = tokens.size(1);
  chunk_windows_ = std::max<int64_t>(1, chunk_tokens / T);
  in_chunks(0, N, T, [&](int64_t begin, int64_t end) {
    const Tensor chunk = embed(tokens.slice(0, begin, end));  // (n, T, D)
    if (!buffer_.defined()) {
      detail::name_memory(fmt::format("the signal of {} calibration tokens", tokens.numel()),
                          chunk.device(), [&] {
                            buffer_ = at::empty({N, T, chunk.size(2)}, chunk.options());
                          });
    }
    buffer_.slice(0, begin, end).copy_(chunk);
  });
  width_ = buffer_.size(2);
}

Stream::Stream(at::IntArrayRef room, const at::TensorOptions& options, int64_t width,
               int64_t chunk_tokens, const std::function<Tensor(int64_t, int64_t)>& rows_of,
               std::function<void(int64_t)> on_smaller_chunks)
    : width_(width), on_smaller_chunks_(std::move(on_smaller_chunks)) {
  detail::name_memory(fmt::format("the signal of {} calibration tokens", room[0] * room[1]),
                      options.device(), [&] { buffer_ = at::empty(room, options); });
  set_chunk_tokens(chunk_tokens);
  in_chunks(0, windows(), room[1],
            [&](int64_t begin, int64_t end) { rows(begin, end).copy_(rows_of(begin, end)); });
}

void Stream::check_tokens(const Tensor& tokens) {
  SLICE_CHECK(tokens.dim() == 2 && tokens.numel() > 0 && tokens.scalar_type() == at::kLong,
              "calibration tokens: want (N, T) int64, got {}", detail::describe(tokens));
}

void Stream::transform(const Step& step) {
  int64_t width = width_;
  in_chunks(0, windows(), buffer_.size(1), [&](int64_t begin, int64_t end) {
    const Tensor rows = buffer_.slice(0, begin, end);   // (n, T, D)
    const Tensor out = step(rows.slice(2, 0, width_));  // (n, T, width)
    width = out.size(2);
    rows.slice(2, 0, width).copy_(out);
  });
  width_ = width;
}

void Stream::project(const Tensor& P) {
  const at::ScalarType dtype = buffer_.scalar_type();
  if (buffer_.is_cuda() && (dtype == at::kHalf || dtype == at::kBFloat16)) {
    const detail::SplitBasis split(P, dtype);
    transform([&split](const Tensor& z) { return split.product(z); });
    return;
  }
  const Tensor basis = P.to(dtype == at::kDouble ? at::kDouble : at::kFloat);
  transform([&basis](const Tensor& z) { return at::matmul(z.to(basis.scalar_type()), basis); });
}

void Stream::visit(const std::function<void(const Tensor&)>& see) {
  in_chunks(0, windows(), buffer_.size(1),
            [&](int64_t begin, int64_t end) { see(rows(begin, end)); });
}

void Stream::visit_beside(const Stream& other, int64_t first, int64_t last,
                          const std::function<void(const Tensor&, const Tensor&)>& see) {
  in_chunks(first, last, buffer_.size(1),
            [&](int64_t begin, int64_t end) { see(rows(begin, end), other.rows(begin, end)); });
}

Tensor Stream::rows(int64_t begin, int64_t end) const {
  return buffer_.slice(0, begin, end).slice(2, 0, width_);
}

Stream Stream::clone() const {
  Stream copy = *this;
  detail::name_memory(fmt::format("a second signal of {} calibration tokens", tokens()),
                      buffer_.device(), [&] { copy.buffer_ = buffer_.clone(); });
  return copy;
}

void Stream::set_chunk_tokens(int64_t chunk_tokens) {
  chunk_windows_ = std::max<int64_t>(1, chunk_tokens / buffer_.size(1));
}

void Stream::in_chunks(int64_t first, int64_t last, int64_t window_tokens,
                       const std::function<void(int64_t, int64_t)>& step) {
  for (int64_t begin = first; begin < last;) {
    const int64_t end = std::min(begin + chunk_windows_, last);
    try {
      step(begin, end);
      begin = end;
    } catch (const c10::Error& error) {
      if (!detail::is_out_of_memory(error)) throw;
      if (end - begin == 1) {
        throw DeviceError(fmt::format("no memory for one window of {} tokens: {}", window_tokens,
                                      detail::first_sentence(error)));
      }
      chunk_windows_ = (end - begin) / 2;
      if (on_smaller_chunks_) on_smaller_chunks_(chunk_windows_ * window_tokens);
    }
  }
}

}  // namespace slice
