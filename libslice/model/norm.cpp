#include "libslice/model/norm.h"

#include <ATen/ATen.h>
#include <ATen/OpMathType.h>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/tensor_text.h"
#include "libslice/device/ops.h"

namespace slice {

NormImpl::NormImpl(NormKind kind, int64_t hidden_size, double eps, NormParts parts)
    : kind_(kind),
      hidden_size_(hidden_size),
      eps_(eps),
      centres_(kind == NormKind::kLayer && parts.centre) {
  SLICE_ARGUMENT_CHECK(hidden_size > 0 && eps >= 0, "norm: want D > 0 and eps >= 0, got {} and {}",
                       hidden_size, eps);
  if (kind == NormKind::kNone) return;
  if (parts.weight) weight = register_parameter("weight", at::ones({hidden_size}), false);
  if (parts.bias && kind == NormKind::kLayer)
    bias = register_parameter("bias", at::zeros({hidden_size}), false);
}

at::Tensor NormImpl::forward(const at::Tensor& x) const {
  if (kind_ == NormKind::kNone) return x;
  if (!centres_ && !weighted()) return ops::rms_norm(x, hidden_size_, eps_);
  SLICE_CHECK(x.dim() > 0 && x.size(-1) == hidden_size_,
              "norm: with its weights it wants width {}, got {}", hidden_size_,
              detail::describe(x));
  if (centres_) return at::layer_norm(x, {hidden_size_}, weight, bias, eps_);
  return ops::rms_norm(x, hidden_size_, eps_) * weight;
}

at::Tensor NormImpl::divisor(const at::Tensor& x) const {
  const at::Tensor wide = x.to(at::toOpMathType(x.scalar_type()));
  const at::Tensor squares = wide.square().sum(-1, /*keepdim=*/true);
  return (squares / static_cast<double>(hidden_size_) + eps_).sqrt();
}

void NormImpl::reset_weights() {
  if (weight.defined()) weight.set_data(at::ones_like(weight));
  if (bias.defined()) bias.set_data(at::zeros_like(bias));
}

void NormImpl::restore_weights(const at::Tensor& alpha, const at::Tensor& beta) {
  drop_weights();
  centres_ = kind_ == NormKind::kLayer;
  if (alpha.defined()) weight = register_parameter("weight", alpha, false);
  if (beta.defined()) bias = register_parameter("bias", beta, false);
}

void NormImpl::drop_weights() {
  if (weight.defined()) parameters_.erase("weight");
  if (bias.defined()) parameters_.erase("bias");
  weight = bias = at::Tensor();
  centres_ = false;
}

}  // namespace slice
