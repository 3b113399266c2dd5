#pragma once

#include "cuda/detail/numeric.cuh"
#include "cuda/detail/warp.cuh"

// decode_attention: the running softmax of teams of lanes over rows of K and V.

namespace slice::kernels::detail {

/// The positions that a block works on.
struct AttentionRange {
  int begin, end;  // empty when begin ≥ end
  int active;      // splits that have any
  int position;    // p
};

constexpr int kAttentionThreads = 256;
constexpr int kAttentionWarps = kAttentionThreads / kWarp;
constexpr int kPartialHeader = 2;  // maximum and sum, before a partial result's d numbers

/// exp2(value − maximum), 0 where both are −∞.
__device__ __forceinline__ float weight_of(float value, float maximum) {
  return exp2f(value - (maximum == -INFINITY ? 0.0f : maximum));
}

/// Running softmax of a team: its lanes share the d coordinates, each keeps kOwn of them for every
/// head.
template <int kHeads, int kOwn>
struct AttentionSums {
  float maximum[kHeads];
  float total[kHeads];
  float values[kHeads][kOwn];
};

/// Puts the sums of a warp's teams together, in those of the first.
template <int kTeam, int kHeads, int kOwn>
__device__ __forceinline__ void join_teams(AttentionSums<kHeads, kOwn>& sums) {
#pragma unroll
  for (int mask = kTeam; mask < kWarp; mask *= 2) {
#pragma unroll
    for (int h = 0; h < kHeads; ++h) {
      const float other = __shfl_xor_sync(kAllLanes, sums.maximum[h], mask);
      const float maximum = fmaxf(sums.maximum[h], other);
      const float own_weight = weight_of(sums.maximum[h], maximum);
      const float other_weight = weight_of(other, maximum);
      const auto join = [&](float& value) {
        value = own_weight * value + other_weight * __shfl_xor_sync(kAllLanes, value, mask);
      };
      sums.maximum[h] = maximum;
      join(sums.total[h]);
#pragma unroll
      for (int i = 0; i < kOwn; ++i) join(sums.values[h][i]);
    }
  }
}

/// kRows rows of K and of V in a team's registers, of every kApart rows one.
template <typename T, int kWidth, int kPacks, int kTeam, int kRows,
          int kApart = kAttentionThreads / kTeam>
struct AttentionRows {
  using P = Pack<T, kWidth>;
  P k[kRows][kPacks], v[kRows][kPacks];

  static __device__ __forceinline__ int column(int pack, int lane) {
    return (pack * kTeam + lane) * kWidth;
  }

  /// From the cache, without the new row, which is not there.
  __device__ __forceinline__ void load(const T* keys, const T* values, const AttentionRange& range,
                                       int first, int head_size, int lane) {
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      const int row = first + r * kApart;
#pragma unroll
      for (int i = 0; i < kPacks; ++i) {
        const int at = column(i, lane);
        const bool valid = row < range.end && row != range.position && at < head_size;
        const int64_t offset = int64_t{row} * head_size + at;
        k[r][i] = valid ? *reinterpret_cast<const P*>(keys + offset) : P{};
        v[r][i] = valid ? *reinterpret_cast<const P*>(values + offset) : P{};
      }
    }
  }

  /// Puts the new row where it belongs.
  __device__ __forceinline__ void insert(const T* key, const T* value, const AttentionRange& range,
                                         int first, int lane) {
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      if (first + r * kApart != range.position) continue;
#pragma unroll
      for (int i = 0; i < kPacks; ++i) {
        k[r][i] = *reinterpret_cast<const P*>(key + column(i, lane));
        v[r][i] = *reinterpret_cast<const P*>(value + column(i, lane));
      }
    }
  }

  template <int kHeads>
  __device__ __forceinline__ void add_to(AttentionSums<kHeads, kWidth * kPacks>& sums,
                                         const float (&q)[kHeads][kWidth * kPacks],
                                         const AttentionRange& range, int first, float cap) const {
#pragma unroll
    for (int h = 0; h < kHeads; ++h) {
      float scores[kRows];
      float maximum = sums.maximum[h];
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        float product = 0;
#pragma unroll
        for (int i = 0; i < kWidth * kPacks; ++i) {
          product += q[h][i] * widen(k[r][i / kWidth].values[i % kWidth]);
        }
        product = team_sum<kTeam>(product);
        if (cap > 0) product = cap * tanhf(product / cap);
        scores[r] = first + r * kApart < range.end ? product : -INFINITY;
        maximum = fmaxf(maximum, scores[r]);
      }
      const float shrink = weight_of(sums.maximum[h], maximum);
      sums.maximum[h] = maximum;
      sums.total[h] *= shrink;
#pragma unroll
      for (int i = 0; i < kWidth * kPacks; ++i) sums.values[h][i] *= shrink;
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        const float weight = weight_of(scores[r], maximum);
        sums.total[h] += weight;
#pragma unroll
        for (int i = 0; i < kWidth * kPacks; ++i) {
          sums.values[h][i] += weight * widen(v[r][i / kWidth].values[i % kWidth]);
        }
      }
    }
  }
};

/// Puts `count` partial softmaxes together, in their order: maximum and total of each `stride`
/// apart. Partials may come from other blocks, so they are read past the L1.
__device__ __forceinline__ float combined(const float* partials, int stride, int count, int i) {
  float maximum = -INFINITY;
  for (int s = 0; s < count; ++s) maximum = fmaxf(maximum, __ldcg(partials + s * stride));
  float total = 0, value = 0;
  for (int s = 0; s < count; ++s) {
    const float* partial = partials + s * stride;
    const float weight = weight_of(__ldcg(partial), maximum);
    total += weight * __ldcg(partial + 1);
    value += weight * __ldcg(partial + kPartialHeader + i);
  }
  return value / total;
}

}  // namespace slice::kernels::detail
