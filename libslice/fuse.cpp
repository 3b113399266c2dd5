#include "libslice/fuse.h"

#include <ATen/ATen.h>

#include "libslice/detail/check.h"
#include "libslice/detail/tensor_text.h"
#include "libslice/rotate.h"

namespace slice {

at::Tensor fused_weight(const at::Tensor& W, const RmsNorm& norm) {
  const at::Tensor wide = W.to(at::kDouble);
  if (!norm->weighted()) return wide;
  SLICE_CHECK(W.size(1) == norm->weight.size(0), "fusion: want (…, {}), got {}",
              norm->weight.size(0), detail::describe(W));
  return wide * norm->weight.to(at::kDouble);
}

void fuse_norms(ModelAdapter& model) {
  const at::Tensor unrotated;
  for (Sublayer& s : model.sublayers) rotate_readers(s, unrotated);
  rotate_head(model, unrotated);
}

}  // namespace slice
