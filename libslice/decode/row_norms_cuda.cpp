// The device side of detail/row_norms.h.

#include <ATen/ATen.h>

#include "libslice/decode/detail/row_norms.h"
#include "libslice/device/detail/ops_cuda.h"

namespace slice::detail {

using at::Tensor;

Tensor normed(const Norm& norm, const Tensor& x) {
  if (norm->kind() == NormKind::kNone || norm->centres()) return norm->forward(x);
  return ops::on_device::rms_norm(x, norm->hidden_size(), norm->eps(), norm->weight);
}

Tensor added_normed(const Tensor& x, const Tensor& o, const Norm& norm) {
  if (norm->centres() || !norm->weighted()) return x + norm->forward(o);
  return ops::on_device::rms_norm(o, norm->hidden_size(), norm->eps(), norm->weight,
                                  x.contiguous());
}

}  // namespace slice::detail
