#include "libslice/method/recover.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace slice {

using at::Tensor;

namespace {

/// Far below any gradient that is more than rounding: errors are scaled to a root mean square of
/// 2⁻⁸ before they are propagated (recovery.cpp).
constexpr double kEpsilon = 1e-7;

}  // namespace

AdamState::AdamState(const Tensor& weight, double step_scale)
    : master(weight.detach().to(at::promote_types(weight.scalar_type(), at::kFloat), false,
                                /*copy=*/true)),
      mean(at::zeros_like(master)),
      square(at::zeros_like(master)),
      scale(step_scale) {}

void adam_step_inplace(AdamState& state, const Tensor& gradient, double c,
                       const RecoverSettings& settings) {
  const auto steps = static_cast<double>(++state.steps);
  state.mean.lerp_(gradient, 1 - settings.mean);
  state.square.mul_(settings.square).addcmul_(gradient, gradient, 1 - settings.square);
  const Tensor size =
      (state.square / (1 - std::pow(settings.square, steps))).sqrt_().add_(kEpsilon);
  const double step = c * settings.rate * state.scale / (1 - std::pow(settings.mean, steps));
  state.master.addcdiv_(state.mean, size, -step);
}

double step_share(int64_t i, int64_t n, double warmup) {
  const auto rising =
      std::max<int64_t>(1, static_cast<int64_t>(std::ceil(warmup * static_cast<double>(n))));
  if (i < rising) return static_cast<double>(i + 1) / static_cast<double>(rising);
  const double passed = static_cast<double>(i - rising + 1) / static_cast<double>(n - rising + 1);
  return 0.5 + 0.5 * std::cos(std::numbers::pi * passed);
}

}  // namespace slice
