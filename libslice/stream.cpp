#include "libslice/stream.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "libslice/detail/check.h"
#include "libslice/detail/tensor_text.h"

namespace slice {

using at::Tensor;

Stream::Stream(const Tensor& tokens, int64_t chunk_tokens, const Step& embed) {
  SLICE_CHECK(tokens.dim() == 2 && tokens.numel() > 0 && tokens.scalar_type() == at::kLong,
              "calibration tokens: want (N, T) int64, got {}", detail::describe(tokens));
  windows_ = std::max<int64_t>(1, chunk_tokens / tokens.size(1));
  for (int64_t begin = 0; begin < tokens.size(0); begin += windows_) {
    const Tensor chunk =
        embed(tokens.slice(0, begin, std::min(begin + windows_, tokens.size(0))));  // (n, T, D)
    if (!buffer_.defined())
      buffer_ = at::empty({tokens.size(0), tokens.size(1), chunk.size(2)}, chunk.options());
    buffer_.slice(0, begin, begin + chunk.size(0)).copy_(chunk);
  }
  width_ = buffer_.size(2);
}

void Stream::transform(const Step& step) {
  int64_t width = width_;
  for (int64_t begin = 0; begin < buffer_.size(0); begin += windows_) {
    const Tensor rows =
        buffer_.slice(0, begin, std::min(begin + windows_, buffer_.size(0)));  // (n, T, D)
    const Tensor out = step(rows.slice(2, 0, width_));                         // (n, T, width)
    width = out.size(2);
    rows.slice(2, 0, width).copy_(out);
  }
  width_ = width;
}

void Stream::project(const Tensor& P) {
  const Tensor basis = P.to(buffer_.scalar_type() == at::kDouble ? at::kDouble : at::kFloat);
  transform([&basis](const Tensor& z) { return at::matmul(z.to(basis.scalar_type()), basis); });
}

void Stream::visit(const std::function<void(const Tensor&)>& see) const {
  for (int64_t begin = 0; begin < buffer_.size(0); begin += windows_) {
    see(buffer_.slice(0, begin, std::min(begin + windows_, buffer_.size(0))).slice(2, 0, width_));
  }
}

}  // namespace slice
