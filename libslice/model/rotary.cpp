#include "libslice/model/rotary.h"

#include <ATen/ATen.h>
#include <ATen/OpMathType.h>

#include <cmath>
#include <numbers>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/tensor_text.h"

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

Rotary::Rotary(int64_t rotary_size, double theta, const std::optional<RopeScaling>& scaling)
    : rotary_size_(rotary_size) {
  SLICE_ARGUMENT_CHECK(rotary_size > 0 && rotary_size % 2 == 0,
                       "rotary: want an even head size, got {}", rotary_size);
  SLICE_ARGUMENT_CHECK(theta > 0, "rotary: want theta > 0, got {}", theta);
  for (int64_t i = 0; i < rotary_size; i += 2) {
    const double frequency =
        std::pow(theta, -static_cast<double>(i) / static_cast<double>(rotary_size));
    frequencies_.push_back(scaling ? scaled(frequency, *scaling) : frequency);
  }
}

Tensor Rotary::apply(const Tensor& x, int64_t first) const {
  SLICE_CHECK(x.dim() == 4 && x.size(3) >= rotary_size_, "rotary: want (B, T, h, {}), got {}",
              rotary_size_, detail::describe(x));
  const auto wide = at::toOpMathType(x.scalar_type());
  const auto options = at::TensorOptions().dtype(at::kDouble).device(x.device());
  const Tensor position = at::arange(first, first + x.size(1), options);  // (T)
  const Tensor frequency =
      at::tensor(frequencies_, at::kDouble).to(x.device(), /*non_blocking=*/true);  // (r/2)
  const Tensor angle = at::outer(position, frequency).unsqueeze(1);                 // (T, 1, r/2)
  const Tensor cosine = angle.cos().to(wide), sine = angle.sin().to(wide);
  const int64_t half = rotary_size_ / 2;
  const Tensor u = x.slice(3, 0, half), v = x.slice(3, half, rotary_size_);
  if (!x.requires_grad()) {  // autograd does not allow writing into existing memory
    Tensor turned = at::empty_like(x, at::MemoryFormat::Contiguous);
    Tensor first_half = turned.slice(3, 0, half), second = turned.slice(3, half, rotary_size_);
    at::sub_out(first_half, u * cosine, v * sine);  // in `wide`, rounded as it is stored
    at::add_out(second, v * cosine, u * sine);
    if (x.size(3) > rotary_size_) turned.slice(3, rotary_size_).copy_(x.slice(3, rotary_size_));
    return turned;
  }
  const Tensor turned =
      at::cat({u * cosine - v * sine, v * cosine + u * sine}, 3).to(x.scalar_type());
  return x.size(3) == rotary_size_ ? turned : at::cat({turned, x.slice(3, rotary_size_)}, 3);
}

}  // namespace slice
