#include "cuda/decode_attention.h"

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "cuda/detail/dependent_launch.cuh"
#include "cuda/detail/early_start.h"
#include "cuda/detail/numeric.cuh"
#include "cuda/detail/range.h"

// decode_attention:   out = softmax(q Kᵀ / √d) V, one query a sequence
//   qkv (B, (h + 2·kv)·d)   K, V (B, kv, capacity, d)   out (B, h·d)     row-major, contiguous
// grid    splits · kv · ⌈h / kv / kHeads⌉ · B; a block takes a range of positions for up to kHeads
//         query heads of one key head; ranges that are empty leave at once
// block   256 threads in teams of 8 … 32 lanes; a team has rows of K and of V in its registers,
//         the first of them before the kernel in front has ended
// shared  the new row; turned queries, then one sum a warp and head: at most 36 KiB
// numerics  products, softmax (base 2, running maximum) and sums in float32; one rounding to T; the
//         new key is rounded to T before it is used, as the cached ones are; the last block to
//         finish adds the splits in their order, so results repeat bit by bit
// edges   any d ≤ 256 (16-byte packs or single elements), any GQA ratio, windows, p = 0
// work    reads 2·(p + 1)·kv·d elements a sequence, 4·(p + 1)·h·d flop

namespace slice::kernels {
namespace {

using detail::Pack;

constexpr int kThreads = 256;
constexpr int kWarp = 32;
constexpr int kWarps = kThreads / kWarp;
constexpr int kMaxHeadSize = static_cast<int>(kDecodeHeadSize);
constexpr int kMaxHeads = 4;        // query heads a block: what shared memory holds
constexpr int kMinSplitRows = 256;  // fewer are not worth a second block and its combination
constexpr int kVectorBytes = 16;
constexpr int kPartialHeader = 2;  // maximum and sum, in front of a partial result's d numbers

template <typename T>
struct Arguments {
  T* out;
  const T* qkv;
  T* keys;
  T* values;
  const int32_t* positions;
  const float* cosine;
  const float* sine;
  unsigned* tickets;  // one for the blocks that share positions
  float* partials;    // (batch, heads, splits, kPartialHeader + d)
  int heads, kv_heads, head_size, rotary_size, splits;
  int64_t capacity, window;
  float scale;  // log2(e) / √d
};

/// The positions that a block works on.
struct Range {
  int begin, end;  // empty when begin ≥ end
  int active;      // splits that have any
  int position;    // p
};

template <typename T>
__device__ __forceinline__ Range range_of(const Arguments<T>& a, int batch, int split) {
  const int position = a.positions[batch], all = position + 1;
  const int window = a.window > 0 && a.window < all ? static_cast<int>(a.window) : all;
  const int rows = max(kMinSplitRows, (window + a.splits - 1) / a.splits);
  const int begin = all - window + split * rows;
  return {begin, min(begin + rows, all), (window + rows - 1) / rows, position};
}

/// Cosines and sines of one position, a pair of coordinates each.
struct Angles {
  float cosine[kMaxHeadSize / 2];
  float sine[kMaxHeadSize / 2];
};

/// Coordinate i of a head's row, turned.
template <typename T>
__device__ __forceinline__ float turned(const T* row, int i, int rotary_size,
                                        const Angles& angles) {
  if (i >= rotary_size) return detail::widen(row[i]);
  const int half = rotary_size / 2, pair = i < half ? i : i - half;
  const float u = detail::widen(row[pair]), v = detail::widen(row[pair + half]);
  const float c = angles.cosine[pair], s = angles.sine[pair];
  return i < half ? u * c - v * s : v * c + u * s;
}

template <int kTeam>
__device__ __forceinline__ float team_sum(float value) {
#pragma unroll
  for (int mask = kTeam / 2; mask > 0; mask /= 2) {
    value += __shfl_xor_sync(0xffffffffu, value, mask);
  }
  return value;
}

/// exp2(value − maximum), 0 where both are −∞.
__device__ __forceinline__ float weight_of(float value, float maximum) {
  return exp2f(value - (maximum == -INFINITY ? 0.0f : maximum));
}

/// Running softmax of a team: its lanes share the d coordinates, each keeps kOwn of them for every
/// head.
template <int kHeads, int kOwn>
struct Sums {
  float maximum[kHeads];
  float total[kHeads];
  float values[kHeads][kOwn];
};

/// Puts the sums of a warp's teams together, in those of the first.
template <int kTeam, int kHeads, int kOwn>
__device__ __forceinline__ void join_teams(Sums<kHeads, kOwn>& sums) {
#pragma unroll
  for (int mask = kTeam; mask < kWarp; mask *= 2) {
#pragma unroll
    for (int h = 0; h < kHeads; ++h) {
      const float other = __shfl_xor_sync(0xffffffffu, sums.maximum[h], mask);
      const float maximum = fmaxf(sums.maximum[h], other);
      const float own_weight = weight_of(sums.maximum[h], maximum);
      const float other_weight = weight_of(other, maximum);
      const auto join = [&](float& value) {
        value = own_weight * value + other_weight * __shfl_xor_sync(0xffffffffu, value, mask);
      };
      sums.maximum[h] = maximum;
      join(sums.total[h]);
#pragma unroll
      for (int i = 0; i < kOwn; ++i) join(sums.values[h][i]);
    }
  }
}

/// kRows rows of K and of V in a team's registers, kTeams apart.
template <typename T, int kWidth, int kPacks, int kTeam, int kRows>
struct Rows {
  using P = Pack<T, kWidth>;
  static constexpr int kApart = kThreads / kTeam;
  P k[kRows][kPacks], v[kRows][kPacks];

  static __device__ __forceinline__ int column(int pack, int lane) {
    return (pack * kTeam + lane) * kWidth;
  }

  /// From the cache, without the new row, which is not there.
  __device__ __forceinline__ void load(const T* keys, const T* values, const Range& range,
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
  __device__ __forceinline__ void insert(const T* key, const T* value, const Range& range,
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
  __device__ __forceinline__ void add_to(Sums<kHeads, kWidth * kPacks>& sums,
                                         const float (&q)[kHeads][kWidth * kPacks],
                                         const Range& range, int first) const {
#pragma unroll
    for (int h = 0; h < kHeads; ++h) {
      float scores[kRows];
      float maximum = sums.maximum[h];
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        float product = 0;
#pragma unroll
        for (int i = 0; i < kWidth * kPacks; ++i) {
          product += q[h][i] * detail::widen(k[r][i / kWidth].values[i % kWidth]);
        }
        product = team_sum<kTeam>(product);
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
          sums.values[h][i] += weight * detail::widen(v[r][i / kWidth].values[i % kWidth]);
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

// kWidth elements an access, kPacks accesses a lane and row.
template <typename T, int kWidth, int kPacks, int kTeam, int kHeads>
__global__ void __launch_bounds__(kThreads) decode_attention_kernel(const Arguments<T> a) {
  constexpr int kOwn = kWidth * kPacks, kTeams = kThreads / kTeam;
  constexpr int kRows = kPacks > 1 ? 2 : 4;  // a team's at a time
  constexpr int kRowSize = kOwn * kTeam;
  __shared__ __align__(16) T new_key[kRowSize];
  __shared__ __align__(16) T new_value[kRowSize];
  __shared__ float maxima[kWarps][kHeads], totals[kWarps][kHeads];
  __shared__ bool is_last;
  __shared__ Angles angles;
  __shared__ float warp_values[kWarps][kHeads][kRowSize];
  auto& queries = warp_values[0];  // before the first sum is there

  const int group = a.heads / a.kv_heads, chunks = (group + kHeads - 1) / kHeads;
  const int d = a.head_size;
  const int split = static_cast<int>(blockIdx.x) % a.splits;
  const int sharing = static_cast<int>(blockIdx.x) / a.splits;  // number of the blocks that do
  const int chunk = sharing % chunks, kv_head = sharing / chunks % a.kv_heads;
  const int batch = sharing / chunks / a.kv_heads;
  const int first_head = kv_head * group + chunk * kHeads;
  const int heads = min(kHeads, group - chunk * kHeads);
  const int team = static_cast<int>(threadIdx.x) / kTeam;
  const int lane = static_cast<int>(threadIdx.x) % kTeam;
  const int64_t cache_offset = (int64_t{batch} * a.kv_heads + kv_head) * a.capacity * d;
  const T *keys = a.keys + cache_offset, *values = a.values + cache_offset;

  // What the kernel in front does not write is on its way while that one still runs.
  const Range range = range_of(a, batch, split);
  const bool is_idle = range.begin >= range.end;
  Rows<T, kWidth, kPacks, kTeam, kRows> rows;
  if (!is_idle) {
    rows.load(keys, values, range, range.begin + team, d, lane);
    const int half = a.rotary_size / 2;
    for (int i = static_cast<int>(threadIdx.x); i < half; i += kThreads) {
      angles.cosine[i] = a.cosine[int64_t{range.position} * half + i];
      angles.sine[i] = a.sine[int64_t{range.position} * half + i];
    }
  }
  detail::wait_for_previous_kernel();
  detail::start_next_kernel();
  if (is_idle) return;
  __syncthreads();

  const T* projected = a.qkv + int64_t{batch} * (a.heads + 2 * a.kv_heads) * d;
  for (int e = static_cast<int>(threadIdx.x); e < kHeads * kRowSize; e += kThreads) {
    const int h = e / kRowSize, i = e % kRowSize;
    const T* query = projected + int64_t{first_head + h} * d;
    queries[h][i] = h < heads && i < d ? a.scale * turned(query, i, a.rotary_size, angles) : 0.0f;
  }
  if (range.end == range.position + 1) {
    const T* key = projected + int64_t{a.heads + kv_head} * d;
    const T* value = key + int64_t{a.kv_heads} * d;
    const int64_t target = cache_offset + int64_t{range.position} * d;
    for (int i = static_cast<int>(threadIdx.x); i < kRowSize; i += kThreads) {
      new_key[i] = detail::narrow<T>(i < d ? turned(key, i, a.rotary_size, angles) : 0.0f);
      new_value[i] = i < d ? value[i] : detail::narrow<T>(0.0f);
      if (chunk == 0 && i < d) {
        a.keys[target + i] = new_key[i];
        a.values[target + i] = new_value[i];
      }
    }
  }
  __syncthreads();

  float q[kHeads][kOwn];
  Sums<kHeads, kOwn> sums;
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
    Rows<T, kWidth, kPacks, kTeam, kRows> next;
    next.load(keys, values, range, first + kTeams * kRows + team, d, lane);
    rows.insert(new_key, new_value, range, first + team, lane);
    rows.add_to(sums, q, range, first + team);
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
  for (int e = static_cast<int>(threadIdx.x); e < heads * d; e += kThreads) {
    const int h = e / d, i = e % d;
    float maximum = -INFINITY;
    for (int w = 0; w < kWarps; ++w) maximum = fmaxf(maximum, maxima[w][h]);
    float total = 0, value = 0;
    for (int w = 0; w < kWarps; ++w) {
      const float weight = weight_of(maxima[w][h], maximum);
      total += weight * totals[w][h];
      value += weight * warp_values[w][h][i];
    }
    if (range.active == 1) {
      a.out[(first_row + h) * d + i] = detail::narrow<T>(value / total);
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
  for (int e = static_cast<int>(threadIdx.x); e < heads * d; e += kThreads) {
    const int h = e / d, i = e % d;
    const float* partials = a.partials + (first_row + h) * a.splits * partial_size;
    a.out[(first_row + h) * d + i] =
        detail::narrow<T>(combined(partials, partial_size, range.active, i));
  }
}

template <typename T, int kWidth, int kPacks, int kTeam>
cudaError_t launch(const Arguments<T>& a, const DecodeAttention& p, bool early,
                   cudaStream_t stream) {
  const auto start = [&](auto kernel, int64_t heads) {
    const int64_t chunks = detail::ceil_div(p.heads / p.kv_heads, heads);
    const auto blocks = static_cast<unsigned>(p.splits * chunks * p.kv_heads * p.batch);
    const cudaError_t status =
        detail::launch_dependent(kernel, {blocks, kThreads, 0}, early, stream, a);
    return status != cudaSuccess ? status : cudaPeekAtLastError();
  };
  const int64_t group = p.heads / p.kv_heads;
  if (group == 1) return start(decode_attention_kernel<T, kWidth, kPacks, kTeam, 1>, 1);
  return start(decode_attention_kernel<T, kWidth, kPacks, kTeam, kMaxHeads>, kMaxHeads);
}

// Teams as small as a row allows: more rows at a time.
template <typename T>
cudaError_t launch(const Arguments<T>& a, const DecodeAttention& p, cudaStream_t stream) {
  const bool early = detail::can_start_early();
  constexpr int kWidth = kVectorBytes / static_cast<int>(sizeof(T));
  const bool vectors = p.head_size % kWidth == 0 && detail::is_aligned(p.keys, kVectorBytes) &&
                       detail::is_aligned(p.values, kVectorBytes);
  if (!vectors) return launch<T, 1, kMaxHeadSize / kWarp, kWarp>(a, p, early, stream);
  if (p.head_size <= 8 * kWidth) return launch<T, kWidth, 1, 8>(a, p, early, stream);
  if (p.head_size <= 16 * kWidth) return launch<T, kWidth, 1, 16>(a, p, early, stream);
  return launch<T, kWidth, kMaxHeadSize / kWarp / kWidth, kWarp>(a, p, early, stream);
}

int64_t ticket_bytes(const DecodeAttention& p) {
  return detail::ceil_div(p.batch * p.heads * static_cast<int64_t>(sizeof(unsigned)),
                          kVectorBytes) *
         kVectorBytes;
}

bool is_valid(const DecodeAttention& p) {
  constexpr int64_t kMost = int64_t{1} << 30;  // positions and blocks are counted in 32 bits
  return p.type != DataType::kFloat64 && p.heads >= 1 && p.kv_heads >= 1 && p.heads < kMost &&
         p.heads % p.kv_heads == 0 && p.batch < kMost && p.heads * p.batch < kMost &&
         p.heads * p.batch * p.splits < kMost && p.head_size >= 1 && p.head_size <= kMaxHeadSize &&
         p.capacity >= 1 && p.capacity < kMost && p.rotary_size >= 0 && p.rotary_size % 2 == 0 &&
         p.rotary_size <= p.head_size && p.window >= 0 && p.splits >= 1 && p.splits < kMost &&
         p.out != nullptr && p.qkv != nullptr && p.keys != nullptr && p.values != nullptr &&
         p.positions != nullptr && p.workspace != nullptr &&
         detail::is_aligned(p.workspace, kVectorBytes) &&
         (p.rotary_size == 0 || (p.cosine != nullptr && p.sine != nullptr));
}

}  // namespace

int64_t decode_attention_splits(int64_t batch, int64_t kv_heads, int64_t capacity,
                                int64_t multiprocessors) {
  const int64_t wanted =
      detail::ceil_div(2 * multiprocessors, std::max<int64_t>(1, batch * kv_heads));
  const int64_t most = detail::ceil_div(capacity, kMinSplitRows);
  return std::max<int64_t>(1, std::min(wanted, most));
}

size_t decode_attention_workspace_bytes(const DecodeAttention& p) {
  const int64_t partials = p.batch * p.heads * p.splits * (kPartialHeader + p.head_size);
  return static_cast<size_t>(ticket_bytes(p) + partials * static_cast<int64_t>(sizeof(float)));
}

cudaError_t decode_attention(const DecodeAttention& p, cudaStream_t stream) {
  if (p.batch < 0) return cudaErrorInvalidValue;
  if (p.batch == 0) return cudaSuccess;
  if (!is_valid(p)) return cudaErrorInvalidValue;
  const float scale =
      static_cast<float>(1.4426950408889634 / std::sqrt(static_cast<double>(p.head_size)));
  const auto arguments = [&](auto* element) {
    using T = std::remove_pointer_t<decltype(element)>;
    auto* bytes = static_cast<char*>(p.workspace);
    return Arguments<T>{static_cast<T*>(p.out),
                        static_cast<const T*>(p.qkv),
                        static_cast<T*>(p.keys),
                        static_cast<T*>(p.values),
                        p.positions,
                        p.cosine,
                        p.sine,
                        reinterpret_cast<unsigned*>(bytes),
                        reinterpret_cast<float*>(bytes + ticket_bytes(p)),
                        static_cast<int>(p.heads),
                        static_cast<int>(p.kv_heads),
                        static_cast<int>(p.head_size),
                        static_cast<int>(p.rotary_size),
                        static_cast<int>(p.splits),
                        p.capacity,
                        p.window,
                        scale};
  };
  switch (p.type) {
    case DataType::kFloat16:
      return launch(arguments(static_cast<__half*>(nullptr)), p, stream);
    case DataType::kBFloat16:
      return launch(arguments(static_cast<__nv_bfloat16*>(nullptr)), p, stream);
    default:
      return launch(arguments(static_cast<float*>(nullptr)), p, stream);
  }
}

}  // namespace slice::kernels
