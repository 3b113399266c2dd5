#include "libslice/method/fuse.h"

#include <ATen/ATen.h>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/tensor_text.h"
#include "libslice/method/rotate.h"

namespace slice {

at::Tensor fused_weight(const at::Tensor& W, const Norm& norm) {
  const at::Tensor wide = W.to(at::kDouble);
  if (!norm->weighted()) return wide;
  SLICE_CHECK(W.size(1) == norm->weight.size(0), "fusion: want (…, {}), got {}",
              norm->weight.size(0), detail::describe(W));
  return wide * norm->weight.to(at::kDouble);
}

at::Tensor fused_bias(const LinearRef& reader, const Norm& norm) {
  const bool shifts = !norm.is_empty() && norm->bias.defined();
  if (!reader.bias.defined()) {
    SLICE_ARGUMENT_CHECK(!shifts, "{}: its norm has a bias, so it needs one too: give it zeros",
                         reader.name);
    return {};
  }
  const at::Tensor wide = reader.bias.to(at::kDouble);
  if (!shifts) return wide;
  SLICE_CHECK(reader.weight.size(1) == norm->bias.size(0), "fusion: want (…, {}), got {}",
              norm->bias.size(0), detail::describe(reader.weight));
  return wide + reader.weight.to(at::kDouble).mv(norm->bias.to(at::kDouble));
}

at::Tensor centred_rows(const at::Tensor& X) { return X - X.mean(1, /*keepdim=*/true); }

at::Tensor centred_columns(const at::Tensor& X) { return X - X.mean(0, /*keepdim=*/true); }

void fuse_norms(ModelAdapter& model) {
  const at::Tensor unrotated;
  for (Sublayer& s : model.sublayers) rotate_readers(s, unrotated);
  rotate_head(model, unrotated);
}

}  // namespace slice
