#pragma once

#include <cmath>

#include "cuda/decode_attention.h"
#include "cuda/detail/numeric.cuh"
#include "cuda/detail/range.h"

// decode_attention: what its kernels are given.

namespace slice::kernels::detail {

template <typename T>
struct AttentionArguments {
  T* out;
  const T* qkv;
  T* keys;
  T* values;
  const int32_t* positions;
  const float* cosine;
  const float* sine;
  const T* q_norm;  // α of heads, or nullptr
  const T* k_norm;
  unsigned* tickets;  // one for the blocks that share positions
  float* partials;    // (batch, heads, splits, kPartialHeader + d)
  int heads, kv_heads, head_size, rotary_size, splits;
  int64_t capacity, window;
  float norm_eps;
  float scale;  // of q·k, times log2(e): the softmax is one of powers of 2
  float cap;    // of a score in those units; 0: none
};

inline int64_t attention_ticket_bytes(const DecodeAttention& p) {
  return ceil_div(p.batch * p.heads * static_cast<int64_t>(sizeof(unsigned)), kVectorBytes) *
         kVectorBytes;
}

inline bool attention_is_valid(const DecodeAttention& p) {
  constexpr int64_t kMost = int64_t{1} << 30;  // positions and blocks are counted in 32 bits
  return p.type != DataType::kFloat64 && p.heads >= 1 && p.kv_heads >= 1 && p.heads < kMost &&
         p.heads % p.kv_heads == 0 && p.batch < kMost && p.heads * p.batch < kMost &&
         p.heads * p.batch * p.splits < kMost && p.head_size >= 1 &&
         p.head_size <= kDecodeHeadSize && p.capacity >= 1 && p.capacity < kMost &&
         p.rotary_size >= 0 && p.rotary_size % 2 == 0 && p.rotary_size <= p.head_size &&
         p.window >= 0 && p.splits >= 1 && p.splits < kMost && p.out != nullptr &&
         p.qkv != nullptr && p.keys != nullptr && p.values != nullptr && p.positions != nullptr &&
         p.workspace != nullptr && is_aligned(p.workspace, kVectorBytes) &&
         (p.rotary_size == 0 || (p.cosine != nullptr && p.sine != nullptr)) &&
         (p.q_norm == nullptr) == (p.k_norm == nullptr) && p.norm_eps >= 0 && p.softcap >= 0;
}

/// The kernel's view of `p`, which is valid.
template <typename T>
AttentionArguments<T> attention_arguments(const DecodeAttention& p) {
  constexpr double kLog2E = 1.4426950408889634;
  const double scale = p.scale != 0 ? p.scale : 1 / std::sqrt(static_cast<double>(p.head_size));
  auto* bytes = static_cast<char*>(p.workspace);
  return {static_cast<T*>(p.out),
          static_cast<const T*>(p.qkv),
          static_cast<T*>(p.keys),
          static_cast<T*>(p.values),
          p.positions,
          p.cosine,
          p.sine,
          static_cast<const T*>(p.q_norm),
          static_cast<const T*>(p.k_norm),
          reinterpret_cast<unsigned*>(bytes),
          reinterpret_cast<float*>(bytes + attention_ticket_bytes(p)),
          static_cast<int>(p.heads),
          static_cast<int>(p.kv_heads),
          static_cast<int>(p.head_size),
          static_cast<int>(p.rotary_size),
          static_cast<int>(p.splits),
          p.capacity,
          p.window,
          static_cast<float>(p.norm_eps),
          static_cast<float>(scale * kLog2E),
          static_cast<float>(p.softcap * kLog2E)};
}

}  // namespace slice::kernels::detail
