#include "cuda/norm_heads.h"

#include <algorithm>

#include "cuda/detail/norm_pack.cuh"
#include "cuda/detail/numeric.cuh"
#include "cuda/detail/range.h"
#include "cuda/detail/warp.cuh"

// norm_heads:   x ← x · 1/sqrt(Σ x² / n + eps) · α, of heads of q and k where they lie
//   qkv (rows, (h + 2·kv)·d) contiguous   α (d), or (h·d) and (kv·d)
// grid    rows · (h + kv) norms, of all heads together rows · 2 (a loop past 2³¹ − 1 blocks)
// block   256 threads: a team of 8, 16 or 32 lanes a norm, a pack of 16 bytes a lane; a norm that is
//         longer has a block of its own, of 32 … 256 threads with about two packs each
// shared  of such a block, one sum a warp
// numerics  squares, sum and scale in float32, one rounding to T; the order of the sum depends on
//         n, type and alignment only
// edges   any h, kv, d ≥ 1; d that no pack divides, and unaligned memory, by elements
// work    reads what it norms once (a long one twice, then from the caches) and writes it once

namespace slice::kernels {
namespace {

using detail::kVectorBytes;
using detail::kWarp;
using detail::Pack;

constexpr int kMaxThreads = 256;
constexpr int kPacksPerThread = 2;  // aimed at

template <typename T>
struct Arguments {
  T* qkv;
  const T* q_weight;
  const T* k_weight;
  int64_t norms;           // rows · norms_per_row
  int64_t norms_per_row;   // those of q first
  int64_t q_norms;         // of a row
  int64_t row;             // elements
  int64_t q_size, k_size;  // elements of a norm, its n
  float eps;
};

/// What one norm reads and writes.
template <typename T>
struct Place {
  T* x;
  const T* weight;
  int64_t size;
};

template <typename T>
__device__ __forceinline__ Place<T> place_of(const Arguments<T>& a, int64_t norm) {
  const int64_t index = norm % a.norms_per_row;
  T* row = a.qkv + norm / a.norms_per_row * a.row;
  if (index < a.q_norms) return {row + index * a.q_size, a.q_weight, a.q_size};
  return {row + a.q_norms * a.q_size + (index - a.q_norms) * a.k_size, a.k_weight, a.k_size};
}

/// A team of kTeam lanes a norm, of at most as many packs.
template <typename T, int kWidth, int kTeam>
__global__ void __launch_bounds__(kMaxThreads) norm_short_heads_kernel(const Arguments<T> a) {
  using P = Pack<T, kWidth>;
  constexpr int kTeams = kMaxThreads / kTeam;
  const int team = static_cast<int>(threadIdx.x) / kTeam;
  const int lane = static_cast<int>(threadIdx.x) % kTeam;
  // All lanes of a warp go round equally often: the sums are shuffles of whole warps.
  for (int64_t first = int64_t{blockIdx.x} * kTeams; first < a.norms;
       first += int64_t{gridDim.x} * kTeams) {
    const Place<T> place = place_of(a, min(first + team, a.norms - 1));
    const bool is_own = first + team < a.norms && lane < place.size / kWidth;
    P pack = {}, weight = {};
    if (is_own) {
      pack = reinterpret_cast<const P*>(place.x)[lane];
      weight = reinterpret_cast<const P*>(place.weight)[lane];
    }
    const float sum =
        detail::team_sum<kTeam>(is_own ? detail::sum_of_squares<T, kWidth>(pack) : 0.0f);
    const float scale = 1.0f / sqrtf(sum / static_cast<float>(place.size) + a.eps);
    if (is_own)
      detail::store_pack(place.x + lane * kWidth, detail::weighted<T, kWidth>(pack, scale, weight));
  }
}

/// A block a norm.
template <typename T, int kWidth>
__global__ void __launch_bounds__(kMaxThreads) norm_heads_kernel(const Arguments<T> a) {
  using P = Pack<T, kWidth>;
  __shared__ float partial[kMaxThreads / kWarp];
  for (int64_t norm = blockIdx.x; norm < a.norms; norm += gridDim.x) {
    const Place<T> place = place_of(a, norm);
    P* x = reinterpret_cast<P*>(place.x);
    const P* weight = reinterpret_cast<const P*>(place.weight);
    const int64_t size = place.size, packs = size / kWidth;

    float sum = 0;
    for (int64_t i = threadIdx.x; i < packs; i += blockDim.x) {
      const P pack = x[i];
      sum += detail::sum_of_squares<T, kWidth>(pack);
    }
    const float mean = detail::block_sum(sum, partial) / static_cast<float>(size);
    const float scale = 1.0f / sqrtf(mean + a.eps);
    for (int64_t i = threadIdx.x; i < packs; i += blockDim.x) {
      const P pack = x[i], by = weight[i];
      detail::store_pack(reinterpret_cast<T*>(x + i), detail::weighted<T, kWidth>(pack, scale, by));
    }
  }
}

template <typename T, int kWidth>
cudaError_t launch(const Arguments<T>& a, cudaStream_t stream) {
  const int64_t packs = std::max(a.q_size, a.k_size) / kWidth;
  const auto start_short = [&](auto kernel, int64_t team) {
    const int64_t wanted = detail::ceil_div(a.norms, kMaxThreads / team);
    const auto blocks = static_cast<unsigned>(std::min<int64_t>(wanted, INT32_MAX));
    kernel<<<blocks, kMaxThreads, 0, stream>>>(a);
    return cudaPeekAtLastError();
  };
  if (packs <= 8) return start_short(norm_short_heads_kernel<T, kWidth, 8>, 8);
  if (packs <= 16) return start_short(norm_short_heads_kernel<T, kWidth, 16>, 16);
  if (packs <= kWarp) return start_short(norm_short_heads_kernel<T, kWidth, kWarp>, kWarp);
  const int64_t wanted = detail::ceil_div(detail::ceil_div(packs, kPacksPerThread), kWarp) * kWarp;
  const auto threads = static_cast<unsigned>(std::min<int64_t>(wanted, kMaxThreads));
  const auto blocks = static_cast<unsigned>(std::min<int64_t>(a.norms, INT32_MAX));
  norm_heads_kernel<T, kWidth><<<blocks, threads, 0, stream>>>(a);
  return cudaPeekAtLastError();
}

template <typename T>
cudaError_t launch(const NormHeads& p, cudaStream_t stream) {
  constexpr int kWidth = kVectorBytes / static_cast<int>(sizeof(T));
  const int64_t d = p.head_size, q_norms = p.together ? 1 : p.heads,
                k_norms = p.together ? 1 : p.kv_heads;
  const Arguments<T> a = {static_cast<T*>(p.qkv),
                          static_cast<const T*>(p.q_weight),
                          static_cast<const T*>(p.k_weight),
                          p.rows * (q_norms + k_norms),
                          q_norms + k_norms,
                          q_norms,
                          (p.heads + 2 * p.kv_heads) * d,
                          p.together ? p.heads * d : d,
                          p.together ? p.kv_heads * d : d,
                          static_cast<float>(p.eps)};
  const bool vectors = d % kWidth == 0 && detail::is_aligned(p.qkv, kVectorBytes) &&
                       detail::is_aligned(p.q_weight, kVectorBytes) &&
                       detail::is_aligned(p.k_weight, kVectorBytes);
  return vectors ? launch<T, kWidth>(a, stream) : launch<T, 1>(a, stream);
}

bool is_valid(const NormHeads& p) {
  constexpr int64_t kMost = int64_t{1} << 24;
  const int64_t size = size_of(p.type);
  return p.type != DataType::kFloat64 && p.heads >= 1 && p.heads <= kMost && p.kv_heads >= 1 &&
         p.kv_heads <= kMost && p.head_size >= 1 && p.head_size <= kMost && p.eps >= 0 &&
         p.qkv != nullptr && p.q_weight != nullptr && p.k_weight != nullptr &&
         detail::is_aligned(p.qkv, size) && detail::is_aligned(p.q_weight, size) &&
         detail::is_aligned(p.k_weight, size);
}

}  // namespace

cudaError_t norm_heads(const NormHeads& p, cudaStream_t stream) {
  if (p.rows < 0) return cudaErrorInvalidValue;
  if (p.rows == 0) return cudaSuccess;
  if (!is_valid(p)) return cudaErrorInvalidValue;
  return detail::dispatch_up_to_float32(p.type, [&](auto tag) {
    using T = typename decltype(tag)::Type;
    return launch<T>(p, stream);
  });
}

}  // namespace slice::kernels
