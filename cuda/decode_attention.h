#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "cuda/data_type.h"

namespace slice::kernels {

/// Attention of one new token a sequence against its cache, between the projections: norms the heads
/// of q and k where they have norms, turns them (RoFormer, arXiv 2104.09864), appends k and v to the
/// cache, and
///
///   out = softmax(cap(scale · q Kᵀ)) V      over positions max(0, p + 1 − window) … p
///   cap(s) = softcap · tanh(s / softcap), or s
///
/// Grouped queries: heads / kv_heads query heads read one key head. `positions` lies on the device,
/// so a captured launch serves every token of a text, and every sequence has a length of its own.
/// They and the rows before p are read before the previous kernel on the stream has ended, which
/// must not write them; qkv may be its result. The next kernel may start before the previous one
/// has ended: what it reads before it waits (decode_linear: its weights) must be written by
/// neither.
struct DecodeAttention {
  void* out = nullptr;                 ///< (batch, heads · d), contiguous
  const void* qkv = nullptr;           ///< (batch, (heads + 2·kv_heads) · d), contiguous: q, k, v
  void* keys = nullptr;                ///< (batch, kv_heads, capacity, d), contiguous
  void* values = nullptr;              ///< the same
  const int32_t* positions = nullptr;  ///< (batch), p in [0, capacity): of the new token
  const float* cosine = nullptr;       ///< (capacity, rotary_size / 2), absent when nothing turns
  const float* sine = nullptr;
  void* workspace = nullptr;           ///< zeros before the first call; every call leaves it usable
  DataType type = DataType::kFloat16;  ///< not kFloat64
  int64_t batch = 0, heads = 0, kv_heads = 0;
  int64_t head_size = 0;  ///< d, at most kDecodeHeadSize
  int64_t capacity = 0;
  int64_t rotary_size = 0;       ///< leading coordinates of a head that turn, split-half
  int64_t window = 0;            ///< positions a query sees, itself the last; 0: all
  int64_t splits = 1;            ///< blocks that share the positions of a key head
  double scale = 0;              ///< of q·k; 0: 1 / √d
  double softcap = 0;            ///< 0: scores stay as they are
  const void* q_norm = nullptr;  ///< (d), α of the RMSNorm of every query head; optional
  const void* k_norm = nullptr;  ///< (d), of every key head; with q_norm
  double norm_eps = 0;           ///< of both
};

inline constexpr int64_t kDecodeHeadSize = 256;

/// Blocks a key head that fill `multiprocessors` when the cache is full.
int64_t decode_attention_splits(int64_t batch, int64_t kv_heads, int64_t capacity,
                                int64_t multiprocessors);

size_t decode_attention_workspace_bytes(const DecodeAttention& attention);

/// @return  cudaErrorInvalidValue for a bad size or a missing pointer; else the launch's.
///
/// Sums and softmax in float32, in an order that depends on sizes, `splits` and p only. 16-byte
/// accesses where head size and pointers allow.
cudaError_t decode_attention(const DecodeAttention& attention, cudaStream_t stream);

}  // namespace slice::kernels
