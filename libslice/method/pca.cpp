#include "libslice/method/pca.h"

#include <ATen/ATen.h>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/finite.h"
#include "libslice/device/ops.h"

namespace slice {

at::Tensor PcaBasis::leading(int64_t k) const {
  SLICE_ARGUMENT_CHECK(k > 0 && k <= vectors.size(1), "basis: want 0 < k ≤ {}, got {}",
                       vectors.size(1), k);
  return vectors.slice(1, 0, k).contiguous();  // (D, k)
}

double PcaBasis::kept_variance(int64_t k) const {
  const double total = values.sum().item<double>();
  return total > 0 ? values.slice(0, 0, k).sum().item<double>() / total : 1.0;
}

PcaBasis pca_basis(const at::Tensor& C) {
  if (C.defined() && at::isFloatingType(C.scalar_type())) detail::check_finite(C, "covariance");
  const at::NoGradGuard no_grad;
  const ops::Eigen eigen = ops::symmetric_eigen(C);
  return {eigen.values.flip(0).clamp_min(0.0), eigen.vectors.flip(1)};
}

}  // namespace slice
