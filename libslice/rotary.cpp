#include "libslice/rotary.h"

#include <ATen/ATen.h>

#include <cmath>
#include <numbers>

#include "libslice/detail/check.h"
#include "libslice/detail/tensor_text.h"

namespace slice {

using at::Tensor;

namespace {

double scaled(double frequency, const RopeScaling& s) {
  const double turns = static_cast<double>(s.original_context) * frequency / (2 * std::numbers::pi);
  if (s.kind == RopeScaling::Kind::kLinear || turns < s.low_frequency_factor)
    return frequency / s.factor;
  if (turns > s.high_frequency_factor) return frequency;
  const double high = (turns - s.low_frequency_factor) /
                      (s.high_frequency_factor - s.low_frequency_factor);  // 0 … 1
  return (1 - high) * frequency / s.factor + high * frequency;
}

}  // namespace

Rotary::Rotary(int64_t head_size, double theta, const std::optional<RopeScaling>& scaling)
    : head_size_(head_size) {
  SLICE_CHECK(head_size > 0 && head_size % 2 == 0, "rotary: want an even head size, got {}",
              head_size);
  SLICE_CHECK(theta > 0, "rotary: want theta > 0, got {}", theta);
  for (int64_t i = 0; i < head_size; i += 2) {
    const double frequency =
        std::pow(theta, -static_cast<double>(i) / static_cast<double>(head_size));
    frequencies_.push_back(scaling ? scaled(frequency, *scaling) : frequency);
  }
}

Tensor Rotary::apply(const Tensor& x, int64_t first) const {
  SLICE_CHECK(x.dim() == 4 && x.size(3) == head_size_, "rotary: want (B, T, h, {}), got {}",
              head_size_, detail::describe(x));
  const auto wide = x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const auto options = at::TensorOptions().dtype(at::kDouble).device(x.device());
  const Tensor position = at::arange(first, first + x.size(1), options);  // (T)
  const Tensor frequency =
      at::tensor(frequencies_, at::kDouble).to(x.device(), /*non_blocking=*/true);  // (d/2)
  const Tensor angle = at::outer(position, frequency).unsqueeze(1);                 // (T, 1, d/2)
  const Tensor cosine = angle.cos().to(wide), sine = angle.sin().to(wide);
  const Tensor u = x.slice(3, 0, head_size_ / 2).to(wide), v = x.slice(3, head_size_ / 2).to(wide);
  return at::cat({u * cosine - v * sine, v * cosine + u * sine}, 3).to(x.scalar_type());
}

}  // namespace slice
