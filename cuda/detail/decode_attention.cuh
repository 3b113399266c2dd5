#pragma once

#include "cuda/detail/decode_attention_arguments.cuh"
#include "cuda/detail/decode_softmax.cuh"

// decode_attention: what one block does.

namespace slice::kernels::detail {

constexpr int kMaxHeadSize = static_cast<int>(kDecodeHeadSize);
constexpr int kAttentionHeads = 4;  // query heads a block: what shared memory holds
constexpr int kPrefetchBytes = 1 << 16;
constexpr int kMinSplitRows = 256;  // fewer are not worth a second block and its combination

template <typename T>
__device__ __forceinline__ AttentionRange range_of(const AttentionArguments<T>& a, int position,
                                                   int split) {
  const int all = position + 1;
  const int window = a.window > 0 && a.window < all ? static_cast<int>(a.window) : all;
  const int rows = max(kMinSplitRows, (window + a.splits - 1) / a.splits);
  const int begin = all - window + split * rows;
  return {begin, min(begin + rows, all), (window + rows - 1) / rows, position};
}

/// Cosines and sines of one position, a pair of coordinates each: in shared memory …
struct AttentionAngles {
  float cosine[kMaxHeadSize / 2];
  float sine[kMaxHeadSize / 2];
};

/// … or where the tables are.
struct TableAngles {
  const float* cosine;
  const float* sine;
};

/// A head's row of the projection, after its norm.
template <typename T>
struct HeadRow {
  const T* values;
  const T* weight;  // α, or nullptr: no norm
  float factor;     // 1 / rms

  __device__ __forceinline__ float operator[](int i) const {
    const float value = widen(values[i]);
    return weight == nullptr ? value : value * factor * widen(weight[i]);
  }
};

/// 1 / rms of a row of d, by all lanes of a warp.
template <typename T>
__device__ __forceinline__ float norm_factor(const T* row, int d, float eps) {
  float sum = 0;
  for (int i = lane_of_thread(); i < d; i += kWarp) sum += widen(row[i]) * widen(row[i]);
  return 1.0f / sqrtf(warp_sum(sum) / static_cast<float>(d) + eps);
}

/// Coordinate i of a head's row, turned.
template <typename T, typename Angles>
__device__ __forceinline__ float turned(const HeadRow<T>& row, int i, int rotary_size,
                                        const Angles& angles) {
  if (i >= rotary_size) return row[i];
  const int half = rotary_size / 2, pair = i < half ? i : i - half;
  const float u = row[pair], v = row[pair + half];
  const float c = angles.cosine[pair], s = angles.sine[pair];
  return i < half ? u * c - v * s : v * c + u * s;
}

template <typename T, int kRowSize, int kHeads>
struct AttentionShared {
  alignas(16) T new_key[kRowSize];
  alignas(16) T new_value[kRowSize];
  float maxima[kAttentionWarps][kHeads], totals[kAttentionWarps][kHeads];
  bool is_last;
  float norm_factors[kHeads + 1];  // of the queries, of the key
  AttentionAngles angles;
  float warp_values[kAttentionWarps][kHeads][kRowSize];
};

/// Asks the L2 for the rows of K and V from `first` on, at most kPrefetchBytes of each.
template <typename T>
__device__ __forceinline__ void prefetch_rows(const T* keys, const T* values,
                                              const AttentionRange& range, int first, int d) {
  constexpr int kLine = 128 / static_cast<int>(sizeof(T));
  const int most = kPrefetchBytes / static_cast<int>(sizeof(T)) / d;
  const int count = min(min(range.end, range.position) - first, most) * d;
  const int64_t begin = int64_t{first} * d;
  for (int i = static_cast<int>(threadIdx.x) * kLine; i < count; i += kAttentionThreads * kLine) {
    asm volatile("prefetch.global.L2 [%0];" ::"l"(__cvta_generic_to_global(keys + begin + i)));
    asm volatile("prefetch.global.L2 [%0];" ::"l"(__cvta_generic_to_global(values + begin + i)));
  }
}

/// The work of block `block`: kWidth elements an access, kPacks accesses a lane and row. `wait` is
/// called by all threads before the first access to qkv.
template <typename T, int kWidth, int kPacks, int kTeam, int kHeads, typename Wait>
__device__ __forceinline__ void attend(const AttentionArguments<T>& a, int block,
                                       AttentionShared<T, kWidth * kPacks * kTeam, kHeads>& shared,
                                       Wait&& wait) {
  constexpr int kOwn = kWidth * kPacks, kTeams = kAttentionThreads / kTeam;
  constexpr int kRows = kPacks > 1 ? 2 : 4;  // a team's at a time
  constexpr int kRowSize = kOwn * kTeam;
  static_assert(kHeads < kAttentionWarps);
  auto& [new_key, new_value, maxima, totals, is_last, norm_factors, angles, warp_values] = shared;
  auto& queries = warp_values[0];  // before the first sum is there

  const int group = a.heads / a.kv_heads, chunks = (group + kHeads - 1) / kHeads;
  const int d = a.head_size;
  const int split = block % a.splits;
  const int sharing = block / a.splits;  // number of the blocks that do
  const int chunk = sharing % chunks, kv_head = sharing / chunks % a.kv_heads;
  const int batch = sharing / chunks / a.kv_heads;
  const int first_head = kv_head * group + chunk * kHeads;
  const int heads = min(kHeads, group - chunk * kHeads);
  const int team = static_cast<int>(threadIdx.x) / kTeam;
  const int lane = static_cast<int>(threadIdx.x) % kTeam;
  const int64_t cache_offset = (int64_t{batch} * a.kv_heads + kv_head) * a.capacity * d;
  const T *keys = a.keys + cache_offset, *values = a.values + cache_offset;

  // What the previous kernel does not write is on its way while that one still runs.
  const AttentionRange range = range_of(a, a.positions[batch], split);
  const bool is_idle = range.begin >= range.end;
  AttentionRows<T, kWidth, kPacks, kTeam, kRows> rows;
  if (!is_idle) {
    rows.load(keys, values, range, range.begin + team, d, lane);
    // The rows after the first ones come from memory while the previous kernel ends, too: asked for
    // later, they would wait for the weights that the next kernel prefetches.
    prefetch_rows(keys, values, range, range.begin + kTeams * kRows, d);
    const int half = a.rotary_size / 2;
    for (int i = static_cast<int>(threadIdx.x); i < half; i += kAttentionThreads) {
      angles.cosine[i] = a.cosine[int64_t{range.position} * half + i];
      angles.sine[i] = a.sine[int64_t{range.position} * half + i];
    }
  }
  wait();
  if (is_idle) return;
  __syncthreads();

  const T* projected = a.qkv + int64_t{batch} * (a.heads + 2 * a.kv_heads) * d;
  const T* key = projected + int64_t{a.heads + kv_head} * d;
  if (a.q_norm != nullptr) {
    const int warp = static_cast<int>(threadIdx.x) / kWarp;
    if (warp < heads || warp == kHeads) {
      const T* row = warp == kHeads ? key : projected + int64_t{first_head + warp} * d;
      const float factor = norm_factor(row, d, a.norm_eps);
      if (lane_of_thread() == 0) norm_factors[warp] = factor;
    }
    __syncthreads();
  }
  for (int e = static_cast<int>(threadIdx.x); e < kHeads * kRowSize; e += kAttentionThreads) {
    const int h = e / kRowSize, i = e % kRowSize;
    const HeadRow<T> query{projected + int64_t{first_head + h} * d, a.q_norm, norm_factors[h]};
    queries[h][i] = h < heads && i < d ? a.scale * turned(query, i, a.rotary_size, angles) : 0.0f;
  }
  if (range.end == range.position + 1) {
    const HeadRow<T> normed_key{key, a.k_norm, norm_factors[kHeads]};
    const T* value = key + int64_t{a.kv_heads} * d;
    const int64_t target = cache_offset + int64_t{range.position} * d;
    for (int i = static_cast<int>(threadIdx.x); i < kRowSize; i += kAttentionThreads) {
      new_key[i] = narrow<T>(i < d ? turned(normed_key, i, a.rotary_size, angles) : 0.0f);
      new_value[i] = i < d ? value[i] : narrow<T>(0.0f);
      if (chunk == 0 && i < d) {
        a.keys[target + i] = new_key[i];
        a.values[target + i] = new_value[i];
      }
    }
  }
  __syncthreads();

  float q[kHeads][kOwn];
  AttentionSums<kHeads, kOwn> sums;
#pragma unroll
  for (int h = 0; h < kHeads; ++h) {
    sums.maximum[h] = -INFINITY;
    sums.total[h] = 0;
#pragma unroll
    for (int i = 0; i < kOwn; ++i) {
      q[h][i] = queries[h][(i / kWidth * kTeam + lane) * kWidth + i % kWidth];
      sums.values[h][i] = 0;
    }
  }
  __syncthreads();  // the queries' memory is written again below
  // All lanes go round equally often: the sums over a team are shuffles of whole warps.
  for (int first = range.begin; first < range.end; first += kTeams * kRows) {
    AttentionRows<T, kWidth, kPacks, kTeam, kRows> next;
    next.load(keys, values, range, first + kTeams * kRows + team, d, lane);
    rows.insert(new_key, new_value, range, first + team, lane);
    rows.add_to(sums, q, range, first + team, a.cap);
    rows = next;
  }
  join_teams<kTeam>(sums);
  if (static_cast<int>(threadIdx.x) % kWarp < kTeam) {
    const int warp = static_cast<int>(threadIdx.x) / kWarp;
#pragma unroll
    for (int h = 0; h < kHeads; ++h) {
      maxima[warp][h] = sums.maximum[h];
      totals[warp][h] = sums.total[h];
#pragma unroll
      for (int i = 0; i < kOwn; ++i) {
        warp_values[warp][h][(i / kWidth * kTeam + lane) * kWidth + i % kWidth] = sums.values[h][i];
      }
    }
  }
  __syncthreads();

  const int partial_size = kPartialHeader + d;
  const int64_t first_row = int64_t{batch} * a.heads + first_head;  // of out and of partials
  for (int e = static_cast<int>(threadIdx.x); e < heads * d; e += kAttentionThreads) {
    const int h = e / d, i = e % d;
    float maximum = -INFINITY;
    for (int w = 0; w < kAttentionWarps; ++w) maximum = fmaxf(maximum, maxima[w][h]);
    float total = 0, value = 0;
    for (int w = 0; w < kAttentionWarps; ++w) {
      const float weight = weight_of(maxima[w][h], maximum);
      total += weight * totals[w][h];
      value += weight * warp_values[w][h][i];
    }
    if (range.active == 1) {
      a.out[(first_row + h) * d + i] = narrow<T>(value / total);
    } else {
      float* partial = a.partials + ((first_row + h) * a.splits + split) * partial_size;
      if (i == 0) {
        partial[0] = maximum;
        partial[1] = total;
      }
      partial[kPartialHeader + i] = value;
    }
  }
  if (range.active == 1) return;

  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    unsigned* ticket = a.tickets + sharing;
    is_last = atomicAdd(ticket, 1u) + 1 == static_cast<unsigned>(range.active);
    if (is_last) *ticket = 0;
  }
  __syncthreads();
  if (!is_last) return;
  __threadfence();
  for (int e = static_cast<int>(threadIdx.x); e < heads * d; e += kAttentionThreads) {
    const int h = e / d, i = e % d;
    const float* partials = a.partials + (first_row + h) * a.splits * partial_size;
    a.out[(first_row + h) * d + i] = narrow<T>(combined(partials, partial_size, range.active, i));
  }
}

}  // namespace slice::kernels::detail
