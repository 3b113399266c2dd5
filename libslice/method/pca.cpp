#include "libslice/method/pca.h"

#include <ATen/ATen.h>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/finite.h"
#include "libslice/base/detail/tensor_text.h"
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
  const PcaBasis basis = {eigen.values.flip(0).clamp_min(0.0), eigen.vectors.flip(1)};
  check_basis(C, basis);
  return basis;
}

void check_basis(const at::Tensor& C, const PcaBasis& basis) {
  const int64_t D = C.size(0);
  if (D == 0) return;
  const double bound = 1000 * static_cast<double>(D) * 0x1p-53;
  const at::Tensor v = at::cos(at::arange(D, C.options()).square() + 1);  // (D)
  const at::Tensor u = basis.vectors.t().mv(v);
  const auto size = [](const at::Tensor& x) { return at::norm(x).item<double>(); };
  const double length = size(v), largest = basis.values[0].item<double>();
  const double turned = size(basis.vectors.mv(u) - v) / length;
  SLICE_CHECK_AS(NumericError, turned <= bound,
                 "eigenproblem {}: directions are not orthonormal, by {} on a vector of length 1",
                 detail::describe(C), turned);
  const double missed = size(C.mv(v) - basis.vectors.mv(basis.values * u)) / length;
  SLICE_CHECK_AS(NumericError, missed <= bound * largest,
                 "eigenproblem {}: Q Λ Qᵀ is not C, by {} on a vector of length 1",
                 detail::describe(C), missed);
}

}  // namespace slice
