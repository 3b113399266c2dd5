#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "cuda/data_type.h"

namespace slice::kernels {

/// Activation of a gate.
enum class Gate {
  kSilu,      ///< g / (1 + exp(−g))
  kGeluTanh,  ///< g / 2 · (1 + tanh(√(2/π) (g + 0.044715 g³)))
};

/// Activation of a gated feed-forward network whose rows of gate and up alternate.
///
///   h[i] = gate(pairs[2i]) · pairs[2i + 1]                 (SwiGLU, GEGLU; arXiv 2002.05202)
///
/// @param h      (count), contiguous, disjoint from pairs
/// @param pairs  (count, 2), contiguous: (n, 2·F) read as one row of n·F channels
/// @return       cudaErrorInvalidValue for a bad size, alignment or overlap, and for kFloat64; else
///               the launch's.
///
/// In float32, one rounding. 16-byte reads where pointers allow.
cudaError_t gated_activation(void* h, const void* pairs, Gate gate, DataType type, int64_t count,
                             cudaStream_t stream);

}  // namespace slice::kernels
