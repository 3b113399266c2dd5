#pragma once

#include <ATen/core/Tensor.h>

namespace slice::detail {

/// Rows of q or k from the interleaved rotary form, which rotates rows (2i, 2i + 1) of a head
/// together, to the split-half form, which rotates (i, i + d/2). The same order in both weights
/// keeps every product q·k.
/// @param rows  (h·d, in) or, for a bias, (h·d); not modified
/// @return      the same shape, its own memory
inline at::Tensor split_halves(const at::Tensor& rows, int64_t heads) {
  const int64_t d = rows.size(0) / heads;
  return rows
      .reshape({heads, d / 2, 2, -1})  // (h, d/2, 2, in)
      .transpose(1, 2)
      .contiguous()
      .reshape(rows.sizes());
}

/// The inverse: from the split-half form to the interleaved form.
inline at::Tensor interleave_halves(const at::Tensor& rows, int64_t heads) {
  const int64_t d = rows.size(0) / heads;
  return rows
      .reshape({heads, 2, d / 2, -1})  // (h, 2, d/2, in)
      .transpose(1, 2)
      .contiguous()
      .reshape(rows.sizes());
}

}  // namespace slice::detail
