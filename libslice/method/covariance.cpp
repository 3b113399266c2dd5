#include "libslice/method/covariance.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/finite.h"
#include "libslice/base/detail/tensor_text.h"

namespace slice {

using at::Tensor;

Covariance::Covariance(int64_t width) : width_(width) {
  SLICE_ARGUMENT_CHECK(width > 0, "covariance: want a width > 0, got {}", width);
}

void Covariance::accumulate(const Tensor& z) {
  SLICE_CHECK(z.dim() >= 1 && z.size(-1) == width_, "covariance: want (…, {}), got {}", width_,
              detail::describe(z));
  SLICE_CHECK_AS(DtypeError, at::isFloatingType(z.scalar_type()),
                 "covariance: want floating point, got {}", detail::describe(z));
  if (!master_.defined()) {
    master_ = at::zeros({width_, width_}, z.options().dtype(at::kDouble));
    dtype_ = z.scalar_type();
  }
  SLICE_CHECK_AS(DtypeError, z.scalar_type() == dtype_, "covariance of {}: got {}",
                 detail::dtype_name(dtype_), detail::describe(z));
  SLICE_CHECK_AS(DeviceError, z.device() == master_.device(), "covariance on {}: got {}",
                 master_.device().str(), detail::describe(z));
  const at::NoGradGuard no_grad;
  Tensor rows = z.reshape({-1, width_});  // (n, D)
  if (rows.stride(1) != 1) rows = rows.contiguous();
  const int64_t n = rows.size(0);
  // All memory is allocated before the first change: where the device has none the sum is as it
  // was, and the same signal can be accumulated in smaller chunks.
  if (!workspace_.defined()) workspace_ = ops::covariance_workspace(master_, rows.scalar_type());
  if (!pending_.defined() && n % kCovarianceBlock != 0)
    pending_ = at::empty({kCovarianceBlock, width_}, rows.options());
  tokens_ += static_cast<double>(n);
  int64_t begin = 0;
  while (begin < n) {
    if (pending_rows_ == 0 && n - begin >= kCovarianceBlock) {  // a whole block: no copy
      ops::accumulate_covariance(master_, rows.slice(0, begin, begin + kCovarianceBlock),
                                 workspace_);
      begin += kCovarianceBlock;
      continue;
    }
    const int64_t end = std::min(n, begin + kCovarianceBlock - pending_rows_);
    pending_.slice(0, pending_rows_, pending_rows_ + end - begin).copy_(rows.slice(0, begin, end));
    pending_rows_ += end - begin;
    begin = end;
    if (pending_rows_ == kCovarianceBlock) {
      ops::accumulate_covariance(master_, pending_, workspace_);
      pending_rows_ = 0;
    }
  }
}

void Covariance::set_weight(double weight) {
  SLICE_ARGUMENT_CHECK(weight > 0, "covariance: want a weight > 0, got {}", weight);
  if (weight == weight_) return;
  const at::NoGradGuard no_grad;
  if (pending_rows_ > 0)
    ops::accumulate_covariance(master_, pending_.slice(0, 0, pending_rows_), workspace_);
  pending_rows_ = 0;
  const double units = weight_ / weight;
  if (master_.defined()) master_.mul_(units);
  tokens_ *= units;
  weight_ = weight;
}

Tensor Covariance::matrix(const ProcessGroup& group) {
  SLICE_ARGUMENT_CHECK(master_.defined() || group.alone(),
                       "covariance of a group: no signal on rank {}", group.rank());
  if (!master_.defined()) return at::zeros({width_, width_}, at::kDouble);
  const at::NoGradGuard no_grad;
  Tensor C = master_.clone();
  if (pending_rows_ > 0)
    ops::accumulate_covariance(C, pending_.slice(0, 0, pending_rows_), workspace_);
  if (weight_ != 1) C.mul_(weight_);
  group.sum_inplace(C);
  ops::mirror_lower(C);
  detail::check_finite(C, "covariance");
  return C;
}

}  // namespace slice
