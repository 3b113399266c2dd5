#include "libslice/norm.h"

#include <ATen/ATen.h>

#include "libslice/detail/check.h"
#include "libslice/detail/tensor_text.h"
#include "libslice/ops.h"

namespace slice {

RmsNormImpl::RmsNormImpl(int64_t hidden_size, double eps, bool weighted)
    : hidden_size_(hidden_size), eps_(eps) {
  SLICE_CHECK(hidden_size > 0 && eps >= 0, "RmsNorm: want D > 0 and eps >= 0, got {} and {}",
              hidden_size, eps);
  if (weighted) weight = register_parameter("weight", at::ones({hidden_size}), false);
}

at::Tensor RmsNormImpl::forward(const at::Tensor& x) const {
  const at::Tensor y = ops::rms_norm(x, hidden_size_, eps_);
  if (!weighted()) return y;
  SLICE_CHECK(x.size(-1) == hidden_size_, "RmsNorm: an unfused norm wants width {}, got {}",
              hidden_size_, detail::describe(x));
  return y * weight;
}

void RmsNormImpl::drop_weight() {
  if (!weighted()) return;
  parameters_.erase("weight");
  weight = at::Tensor();
}

}  // namespace slice
