#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "cuda/data_type.h"

namespace slice::kernels {

/// The rotated residual shortcut: the stream in the next basis plus the block's output.
///
///   Y = X·Wᵀ + R                 (mathematics §4; W = Sᵀ, stored (out, in) like a Linear's weight)
///
/// @param Y        (n, d_out), contiguous; may be R itself, else disjoint; never overlaps X or W.
/// @param X        (n, d_in), rows `x_row_stride` ≥ d_in elements apart.
/// @param W        (d_out, d_in), contiguous.
/// @param R        (n, d_out), contiguous.
/// @return         cudaErrorInvalidValue for a bad size, alignment or overlap; else the launch's.
///
/// Sums in float32 (float64 for float64; float32 never as TF32), one rounding. 16-byte accesses
/// where pointers and row lengths allow, element by element elsewhere, with the same bits.
cudaError_t rotated_add(void* Y, const void* X, const void* W, const void* R, DataType type,
                        int64_t n, int64_t d_in, int64_t d_out, int64_t x_row_stride,
                        cudaStream_t stream);

}  // namespace slice::kernels
