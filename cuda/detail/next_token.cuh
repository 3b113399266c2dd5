#pragma once

#include <cstdint>

#include "cuda/detail/numeric.cuh"
#include "cuda/detail/warp.cuh"
#include "cuda/next_token.h"

// What next_token and sample_token share: the order of logits, and the step to a token once chosen.

namespace slice::kernels::detail {

using TokenKey = unsigned long long;  // what atomicMax takes

constexpr unsigned kNanBits = 0xffffffffu;

/// Larger for a larger logit, and of equal ones for the lower id. −0 and 0 tie; a NaN is the
/// largest.
__device__ __forceinline__ TokenKey key_of(float value, unsigned id) {
  const unsigned bits = __float_as_uint(value + 0.0f);  // −0 becomes 0
  const unsigned ordered = isnan(value)                ? kNanBits
                           : (bits & 0x80000000u) != 0 ? ~bits
                                                       : bits | 0x80000000u;
  return (static_cast<TokenKey>(ordered) << 32) | (0xffffffffu - id);
}

/// The id that a key was made of; −1 of a NaN.
__device__ __forceinline__ int64_t token_of(TokenKey key) {
  const bool is_nan = static_cast<unsigned>(key >> 32) == kNanBits;
  return is_nan ? -1 : int64_t{0xffffffffu - static_cast<unsigned>(key)};
}

/// Where rows of next_token step to.
template <typename T>
struct TokenStep {
  T* x;
  int64_t* history;
  int32_t* positions;
  const T* embedding;
  const T* position_rows;
  int64_t width, capacity, position_offset;
  float scale;

  explicit TokenStep(const NextToken& p)
      : x(static_cast<T*>(p.x)),
        history(p.history),
        positions(p.positions),
        embedding(static_cast<const T*>(p.embedding)),
        position_rows(static_cast<const T*>(p.position_rows)),
        width(p.width),
        capacity(p.capacity),
        position_offset(p.position_offset),
        scale(static_cast<float>(p.scale)) {}

  /// Moves a row on to its next token, whose embedding all threads of the block fetch.
  __device__ __forceinline__ void take(int row, int64_t token, int64_t position) const {
    const T* from = embedding + max(token, int64_t{0}) * width;
    for (int64_t i = threadIdx.x; i < width; i += blockDim.x) {
      float value = scale == 1.0f ? widen(from[i]) : widen(narrow<T>(scale * widen(from[i])));
      if (position_rows != nullptr) {
        value += widen(position_rows[(position + position_offset) * width + i]);
      }
      x[row * width + i] = narrow<T>(value);
    }
    if (threadIdx.x == 0) {
      history[row * capacity + position] = token;
      positions[row] = static_cast<int32_t>(position);
    }
  }
};

/// Whether sizes and pointers are those of rows that step at all; not what a choice needs.
inline bool token_step_is_valid(const NextToken& p) {
  constexpr int64_t kMost = int64_t{1} << 24;
  return p.batch >= 0 && p.batch <= kMost && p.vocabulary >= 1 && p.vocabulary <= INT32_MAX &&
         p.width >= 0 && p.capacity >= 1 && p.type != DataType::kFloat64 &&
         (p.batch == 0 || (p.x != nullptr && p.history != nullptr && p.positions != nullptr &&
                           p.embedding != nullptr));
}

}  // namespace slice::kernels::detail
