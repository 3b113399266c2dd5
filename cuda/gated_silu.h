#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "cuda/data_type.h"

namespace slice::kernels {

/// Activation of a gated feed-forward network whose rows of gate and up alternate.
///
///   h[i] = silu(pairs[2i]) · pairs[2i + 1],   silu(g) = g / (1 + exp(−g))     (SwiGLU, 2002.05202)
///
/// @param h      (count), contiguous, disjoint from pairs
/// @param pairs  (count, 2), contiguous: (n, 2·F) read as one row of n·F channels
/// @return       cudaErrorInvalidValue for a bad size, alignment or overlap, and for kFloat64; else
///               the launch's.
///
/// In float32, one rounding. 16-byte reads where pointers allow.
cudaError_t gated_silu(void* h, const void* pairs, DataType type, int64_t count,
                       cudaStream_t stream);

}  // namespace slice::kernels
