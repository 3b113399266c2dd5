#pragma once

#include "cuda/detail/numeric.cuh"

// What rms_norm and norm_heads do to a pack of a row.

namespace slice::kernels::detail {

template <typename T, int kWidth>
__device__ __forceinline__ Accumulator<T> sum_of_squares(const Pack<T, kWidth>& pack) {
  Accumulator<T> sum = 0;
#pragma unroll
  for (int i = 0; i < kWidth; ++i) {
    const Accumulator<T> value = widen(pack.values[i]);
    sum += value * value;
  }
  return sum;
}

template <typename T, int kWidth>
__device__ __forceinline__ Pack<T, kWidth> weighted(const Pack<T, kWidth>& pack,
                                                    Accumulator<T> scale,
                                                    const Pack<T, kWidth>& weight) {
  Pack<T, kWidth> result;
#pragma unroll
  for (int i = 0; i < kWidth; ++i) {
    result.values[i] = narrow<T>(widen(pack.values[i]) * scale * widen(weight.values[i]));
  }
  return result;
}

}  // namespace slice::kernels::detail
