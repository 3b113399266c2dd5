#include "libslice/shortcut.h"

#include <ATen/ATen.h>

#include "libslice/detail/check.h"
#include "libslice/detail/placeholder.h"
#include "libslice/detail/tensor_text.h"
#include "libslice/ops.h"

namespace slice {

ShortcutImpl::ShortcutImpl(int64_t in, int64_t out) {
  weight = register_parameter("weight", detail::placeholder({out, in}), /*requires_grad=*/false);
}

at::Tensor ShortcutImpl::forward(const at::Tensor& x, const at::Tensor& r) const {
  return identity() ? x + r : ops::rotated_add(x, weight, r);
}

void ShortcutImpl::set_dense(const at::Tensor& matrix, at::ScalarType dtype) {
  SLICE_CHECK(matrix.dim() == 2, "shortcut: want a matrix, got {}", detail::describe(matrix));
  const at::Tensor stored = matrix.to(dtype).contiguous();
  if (identity()) {
    weight = register_parameter("weight", stored, /*requires_grad=*/false);
  } else {
    weight.set_data(stored);
  }
}

}  // namespace slice
