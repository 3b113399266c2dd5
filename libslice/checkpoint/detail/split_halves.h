#pragma once

#include <ATen/core/Tensor.h>

namespace slice::detail {

/// Rows of q or k for the interleaved rotary form, which turns rows (2i, 2i + 1) of a head
/// together, in the order of the split-half form, which turns (i, i + d/2). The same rows in both
/// weights keep every product q·k.
/// @param rows  (h·d, in) or, for a bias, (h·d); not modified     @return  the same shape, its own
/// memory
inline at::Tensor split_halves(const at::Tensor& rows, int64_t heads) {
  const int64_t d = rows.size(0) / heads;
  return rows
      .reshape({heads, d / 2, 2, -1})  // (h, d/2, 2, in)
      .transpose(1, 2)
      .contiguous()
      .reshape(rows.sizes());
}

/// The way back: rows in the order of the split-half form for the interleaved one.
inline at::Tensor interleave_halves(const at::Tensor& rows, int64_t heads) {
  const int64_t d = rows.size(0) / heads;
  return rows
      .reshape({heads, 2, d / 2, -1})  // (h, 2, d/2, in)
      .transpose(1, 2)
      .contiguous()
      .reshape(rows.sizes());
}

}  // namespace slice::detail
