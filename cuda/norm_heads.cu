#include "cuda/norm_heads.h"

#include <algorithm>

#include "cuda/detail/numeric.cuh"
#include "cuda/detail/range.h"
#include "cuda/detail/warp.cuh"

// norm_heads:   x ← x · 1/sqrt(Σ x² / n + eps) · α, of heads of q and k where they lie
//   qkv (rows, (h + 2·kv)·d) contiguous   α (d), or (h·d) and (kv·d)
// grid    a block a norm: rows · (h + kv), of all heads together rows · 2 (a loop past 2³¹ − 1)
// block   32 … 256 threads, about two packs of 16 bytes a thread
// shared  one sum a warp
// numerics  squares, sum and scale in float32, one rounding to T; the order of the sum depends on
//         n, type and alignment only
// edges   any h, kv, d ≥ 1; d that no pack divides, and unaligned memory, by elements
// work    reads what it norms twice, the second time from the caches, and writes it once

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

template <typename T, int kWidth>
__device__ __forceinline__ float sum_of_squares(const Pack<T, kWidth>& pack) {
  float sum = 0;
#pragma unroll
  for (int i = 0; i < kWidth; ++i) {
    const float value = detail::widen(pack.values[i]);
    sum += value * value;
  }
  return sum;
}

template <typename T, int kWidth>
__global__ void __launch_bounds__(kMaxThreads) norm_heads_kernel(const Arguments<T> a) {
  using P = Pack<T, kWidth>;
  __shared__ float partial[kMaxThreads / kWarp];
  for (int64_t norm = blockIdx.x; norm < a.norms; norm += gridDim.x) {
    const int64_t index = norm % a.norms_per_row;
    const bool is_query = index < a.q_norms;
    const int64_t size = is_query ? a.q_size : a.k_size;
    const int64_t before =
        is_query ? index * a.q_size : a.q_norms * a.q_size + (index - a.q_norms) * a.k_size;
    P* x = reinterpret_cast<P*>(a.qkv + norm / a.norms_per_row * a.row + before);
    const P* weight = reinterpret_cast<const P*>(is_query ? a.q_weight : a.k_weight);
    const int64_t packs = size / kWidth;

    float sum = 0;
    for (int64_t i = threadIdx.x; i < packs; i += blockDim.x) {
      const P pack = x[i];
      sum += sum_of_squares<T, kWidth>(pack);
    }
    const float mean = detail::block_sum(sum, partial) / static_cast<float>(size);
    const float scale = 1.0f / sqrtf(mean + a.eps);
    for (int64_t i = threadIdx.x; i < packs; i += blockDim.x) {
      const P pack = x[i], by = weight[i];
      P result;
#pragma unroll
      for (int j = 0; j < kWidth; ++j) {
        result.values[j] =
            detail::narrow<T>(detail::widen(pack.values[j]) * scale * detail::widen(by.values[j]));
      }
      detail::store_pack(reinterpret_cast<T*>(x + i), result);
    }
  }
}

template <typename T, int kWidth>
cudaError_t launch(const Arguments<T>& a, cudaStream_t stream) {
  const int64_t packs = std::max(a.q_size, a.k_size) / kWidth;
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
