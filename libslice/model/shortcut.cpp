#include "libslice/model/shortcut.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/tensor_text.h"
#include "libslice/device/ops.h"
#include "libslice/model/detail/placeholder.h"

namespace slice {

using at::Tensor;

namespace {

/// x (…, k_a) → (…, k_b), zeros in the coordinates that only r has.
Tensor widened(const Tensor& x, int64_t width) {
  return x.size(-1) == width ? x : at::constant_pad_nd(x, {0, width - x.size(-1)});
}

}  // namespace

ShortcutImpl::ShortcutImpl(ShortcutForm form, int64_t in, int64_t out, int64_t rank) {
  const auto reserve = [this](const char* name, at::IntArrayRef shape) {
    return register_parameter(name, detail::placeholder(shape), /*requires_grad=*/false);
  };
  switch (form) {
    case ShortcutForm::kDense:
      weight = reserve("weight", {out, in});
      break;
    case ShortcutForm::kDiagonal:
      weight = reserve("weight", {std::min(in, out)});
      break;
    case ShortcutForm::kLowRank:
      down = reserve("down", {rank, in});
      up = reserve("up", {out, rank});
      break;
    case ShortcutForm::kNone:
      break;
  }
}

Tensor ShortcutImpl::forward(const Tensor& x, const Tensor& r) const {
  const int64_t width = r.size(-1);
  if (up.defined()) return widened(x, width) + at::linear(at::linear(x, down), up) + r;
  if (!weight.defined()) return widened(x, width) + r;
  if (weight.dim() == 1) return widened(x.narrow(-1, 0, weight.size(0)) * weight, width) + r;
  return ops::rotated_add(x, weight, r);
}

void ShortcutImpl::set(const char* name, Tensor& parameter, const Tensor& value,
                       at::ScalarType dtype) {
  const Tensor stored = value.to(dtype).contiguous();
  if (parameter.defined()) {
    parameter.set_data(stored);
  } else {
    parameter = register_parameter(name, stored, /*requires_grad=*/false);
  }
}

void ShortcutImpl::set_dense(const Tensor& matrix, at::ScalarType dtype) {
  SLICE_CHECK(matrix.dim() == 2, "shortcut: want a matrix, got {}", detail::describe(matrix));
  if (up.defined()) set_identity();
  set("weight", weight, matrix, dtype);
}

void ShortcutImpl::set_diagonal(const Tensor& diagonal, at::ScalarType dtype) {
  SLICE_CHECK(diagonal.dim() == 1, "shortcut: want a diagonal, got {}", detail::describe(diagonal));
  if (up.defined()) set_identity();
  set("weight", weight, diagonal, dtype);
}

void ShortcutImpl::set_low_rank(const Tensor& down_matrix, const Tensor& up_matrix,
                                at::ScalarType dtype) {
  SLICE_CHECK(
      down_matrix.dim() == 2 && up_matrix.dim() == 2 && down_matrix.size(0) == up_matrix.size(1),
      "shortcut: want (R, k_a) and (k_b, R), got {} and {}", detail::describe(down_matrix),
      detail::describe(up_matrix));
  if (weight.defined()) set_identity();
  set("down", down, down_matrix, dtype);
  set("up", up, up_matrix, dtype);
}

void ShortcutImpl::set_identity() {
  for (const char* name : {"weight", "down", "up"}) {
    if (parameters_.contains(name)) parameters_.erase(name);
  }
  weight = down = up = Tensor();
}

}  // namespace slice
