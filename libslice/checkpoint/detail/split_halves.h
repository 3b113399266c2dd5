#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace slice::detail {

/// Rows of q or k from the interleaved rotary form, which rotates rows (2i, 2i + 1) of a head
/// together, to the split-half form, which rotates (i, i + r/2), of the first r rows of each head.
/// The same order in both weights keeps every product q·k.
/// @param rows     (h·d, in) or, for a bias, (h·d); not modified
/// @param turning  r; 0: all d
/// @return      the same shape, its own memory
at::Tensor split_halves(const at::Tensor& rows, int64_t heads, int64_t turning = 0);

/// The inverse: from the split-half form to the interleaved form.
at::Tensor interleave_halves(const at::Tensor& rows, int64_t heads, int64_t turning = 0);

}  // namespace slice::detail
