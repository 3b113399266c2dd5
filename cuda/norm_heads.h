#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "cuda/data_type.h"

namespace slice::kernels {

/// RMSNorm of queries and keys in the joint projection of some tokens, before they turn:
///
///   q ← q · 1/sqrt(Σ q² / n + eps) · α_q,   k likewise with α_k
///
/// over every head, n = d, or over all heads of q and over all of k together (Qwen3; OLMo 2, arXiv
/// 2501.00656).
struct NormHeads {
  void* qkv = nullptr;  ///< (rows, (heads + 2·kv_heads) · d), contiguous: q, k, v; in place
  const void* q_weight = nullptr;      ///< (d), of `together` (heads · d)
  const void* k_weight = nullptr;      ///< (d), of `together` (kv_heads · d)
  DataType type = DataType::kFloat16;  ///< not kFloat64
  int64_t rows = 0, heads = 0, kv_heads = 0;
  int64_t head_size = 0;  ///< d
  bool together = false;
  double eps = 0;
};

/// @return  cudaErrorInvalidValue for a bad size, alignment or a missing pointer; else the launch's.
///
/// In float32, one rounding; a row's bits do not depend on the other rows. 16-byte accesses where d
/// and pointers allow.
cudaError_t norm_heads(const NormHeads& norm, cudaStream_t stream);

}  // namespace slice::kernels
