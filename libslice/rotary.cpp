#include "libslice/rotary.h"

#include <ATen/ATen.h>

#include "libslice/detail/check.h"
#include "libslice/detail/tensor_text.h"

namespace slice {

using at::Tensor;

Rotary::Rotary(int64_t head_size, double theta) : head_size_(head_size), theta_(theta) {
  SLICE_CHECK(head_size > 0 && head_size % 2 == 0, "rotary: want an even head size, got {}",
              head_size);
  SLICE_CHECK(theta > 0, "rotary: want theta > 0, got {}", theta);
}

Tensor Rotary::apply(const Tensor& x, int64_t first) const {
  SLICE_CHECK(x.dim() == 4 && x.size(3) == head_size_, "rotary: want (B, T, h, {}), got {}",
              head_size_, detail::describe(x));
  const auto wide = x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const auto options = at::TensorOptions().dtype(at::kDouble).device(x.device());
  const Tensor position = at::arange(first, first + x.size(1), options);  // (T)
  const Tensor frequency =
      at::pow(theta_, at::arange(0, head_size_, 2, options) / -head_size_);  // (d/2)
  const Tensor angle = at::outer(position, frequency).unsqueeze(1);          // (T, 1, d/2)
  const Tensor cosine = angle.cos().to(wide), sine = angle.sin().to(wide);
  const Tensor u = x.slice(3, 0, head_size_ / 2).to(wide), v = x.slice(3, head_size_ / 2).to(wide);
  return at::cat({u * cosine - v * sine, v * cosine + u * sine}, 3).to(x.scalar_type());
}

}  // namespace slice
