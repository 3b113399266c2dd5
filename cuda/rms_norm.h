#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "cuda/data_type.h"

namespace slice::kernels {

/// RMSNorm over the kept coordinates of a sliced stream, or of a model that was not fused, with its
/// weight.
///
///   y = x · 1/sqrt(Σ x² / hidden + eps) [· weight] [+ residual]       (docs/method.md, "Slicing")
///
/// Dropped coordinates count as zero.
///
/// @param y        (rows, columns), contiguous; may be x itself if that is contiguous, else
///                 disjoint.
/// @param x        (rows, columns), unit column stride, rows `x_row_stride` ≥ 0 elements apart.
/// @param weight   (columns), disjoint from y, or nullptr: ones.
/// @param residual (rows, columns), contiguous, or nullptr: zeros; may be y itself, else disjoint;
///                 with a weight.
/// @param hidden   the original hidden size D ≥ 1, not `columns`.
/// @return         cudaErrorInvalidValue for a bad size, alignment or overlap; else the launch's.
///
/// A row's bits do not depend on the other rows. 16-byte accesses where pointers and strides allow.
cudaError_t rms_norm(void* y, const void* x, const void* weight, const void* residual,
                     DataType type, int64_t rows, int64_t columns, int64_t x_row_stride,
                     int64_t hidden, double eps, cudaStream_t stream);

}  // namespace slice::kernels
