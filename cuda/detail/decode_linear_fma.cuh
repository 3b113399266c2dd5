#pragma once

#include "cuda/detail/decode_linear.cuh"
#include "cuda/detail/dependent_launch.cuh"
#include "cuda/detail/warp.cuh"

// decode_linear for float32 and float64, by fused multiply-adds: a warp makes one column of Y, its
// lanes share k. Simple rather than fast: models run in the half types.

namespace slice::kernels::detail {

inline constexpr int kFmaWarps = 4;

// x · wᵀ with x's factors α, by all lanes.
template <typename T>
__device__ __forceinline__ T dot(const T* x, const T* w, const T* factors, int64_t columns) {
  T sum = 0;
  for (int64_t k = lane_of_thread(); k < columns; k += kWarp) {
    sum += (factors == nullptr ? x[k] : x[k] * factors[k]) * w[k];
  }
  return warp_sum(sum);
}

template <typename T>
__global__ void __launch_bounds__(kFmaWarps* kWarp)
    decode_linear_fma_kernel(const __grid_constant__ DecodeLinearOperands<T> p) {
  wait_for_previous_kernel();
  start_next_kernel();
  const int unit = p.rows_per_column();
  const int64_t column = int64_t{blockIdx.x} * kFmaWarps + warp_of_thread();
  if (column >= p.N / unit) return;
  for (int row = 0; row < p.M; ++row) {
    const T* x = p.X + row * p.x_row_stride;
    const T scale = p.norm_hidden > 0 ? norm_scale(p, dot<T>(x, x, nullptr, p.K)) : T(1);
    T sums[2] = {};
    for (int i = 0; i < unit; ++i) {
      const int64_t w_row = column * unit + i;
      sums[i] = scale * dot(x, p.W + w_row * p.K, p.norm_weight, p.K);
      if (p.K2 > 0) {
        sums[i] += dot<T>(p.Z + row * p.z_row_stride, p.V + w_row * p.K2, nullptr, p.K2);
      }
    }
    if (lane_of_thread() == 0) finish(p, row, column, sums[0], sums[1]);
  }
}

}  // namespace slice::kernels::detail
