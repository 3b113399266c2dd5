#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "cuda/data_type.h"

namespace slice::kernels {

/// Where a token is: in a sequence of the cache, at a position.
struct TokenPlace {
  int32_t sequence, position;
};

/// What happens between the joint projection of a prompt and its attention: turns q and k
/// (RoFormer, arXiv 2104.09864, split halves) and appends k and v to the cache. Token t of a
/// sequence is at position first + t:
///
///   (u, v) → (u cos − v sin, v cos + u sin)     for coordinates i and i + r/2, i < r/2, of a head
struct RotaryAppend {
  void* qkv = nullptr;            ///< (batch · tokens, (heads + 2·kv_heads) · d), contiguous:
                                  ///< q, k, v; q is turned in place, k and v stay
  void* keys = nullptr;           ///< (batch, kv_heads, capacity, d), contiguous; written
  void* values = nullptr;         ///< the same
  const float* cosine = nullptr;  ///< (capacity, rotary_size / 2), absent when nothing turns
  const float* sine = nullptr;
  DataType type = DataType::kFloat16;  ///< not kFloat64
  int64_t batch = 0, tokens = 0, heads = 0, kv_heads = 0;
  int64_t head_size = 0;  ///< d, at most kRotaryHeadSize
  int64_t capacity = 0;
  int64_t rotary_size = 0;  ///< r, even: leading coordinates of a head that turn
  int64_t first = 0;        ///< position of the first token; first + tokens ≤ capacity
  /// (tokens): unless absent, tokens of several sequences, each at a place of its own, positions
  /// < capacity; `batch` is 1 and `first` 0 then. k is turned in qkv, too, where attention reads it.
  const TokenPlace* places = nullptr;
};

inline constexpr int64_t kRotaryHeadSize = 512;

/// @return  cudaErrorInvalidValue for a bad size or a missing pointer; else the launch's.
///
/// Products in float32, one rounding. 16-byte accesses where sizes and pointers allow.
cudaError_t rotary_append(const RotaryAppend& append, cudaStream_t stream);

}  // namespace slice::kernels
