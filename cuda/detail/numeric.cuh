#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <cstring>

#include "cuda/data_type.h"

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
#error "libslice's kernels need compute capability 8.0 (bfloat16, cp.async)"
#endif

namespace slice::kernels::detail {

__host__ __device__ constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

__device__ __forceinline__ float square_root(float x) { return sqrtf(x); }
__device__ __forceinline__ double square_root(double x) { return sqrt(x); }

/// Sums run in float32, for float64 elements in float64.
template <typename T>
struct AccumulatorOf {
  using Type = float;
};
template <>
struct AccumulatorOf<double> {
  using Type = double;
};
template <typename T>
using Accumulator = typename AccumulatorOf<T>::Type;

// The intrinsics are spelled out: LibTorch's CMake turns the implicit half conversions off.
__device__ __forceinline__ float widen(__half value) { return __half2float(value); }
__device__ __forceinline__ float widen(__nv_bfloat16 value) { return __bfloat162float(value); }
__device__ __forceinline__ float widen(float value) { return value; }
__device__ __forceinline__ double widen(double value) { return value; }

template <typename T>
__device__ __forceinline__ T narrow(Accumulator<T> value);
template <>
__device__ __forceinline__ __half narrow<__half>(float value) {
  return __float2half_rn(value);
}
template <>
__device__ __forceinline__ __nv_bfloat16 narrow<__nv_bfloat16>(float value) {
  return __float2bfloat16_rn(value);
}
template <>
__device__ __forceinline__ float narrow<float>(float value) {
  return value;
}
template <>
__device__ __forceinline__ double narrow<double>(double value) {
  return value;
}

constexpr int kVectorBytes = 16;  // of the widest access

/// N neighbouring elements, moved in accesses of up to 16 bytes.
template <typename T, int N>
struct alignas(sizeof(T) * N < 16 ? sizeof(T) * N : 16) Pack {
  T values[N];
};

/// Stores a pack of 16 bytes as one access; a plain assignment of halves may become eight.
template <typename T, int N>
__device__ __forceinline__ void store_pack(T* target, const Pack<T, N>& pack) {
  if constexpr (sizeof(pack) == sizeof(uint4)) {
    uint4 bits;
    memcpy(&bits, &pack, sizeof bits);
    __stwb(reinterpret_cast<uint4*>(target), bits);
  } else {
    *reinterpret_cast<Pack<T, N>*>(target) = pack;
  }
}

template <typename T>
struct TypeTag {
  using Type = T;
};

/// Calls `function` with the TypeTag of `type`, which is not kFloat64.
template <typename Function>
auto dispatch_up_to_float32(DataType type, Function&& function) {
  switch (type) {
    case DataType::kFloat16:
      return function(TypeTag<__half>{});
    case DataType::kBFloat16:
      return function(TypeTag<__nv_bfloat16>{});
    default:
      return function(TypeTag<float>{});
  }
}

/// Calls `function` with the TypeTag of `type`.
template <typename Function>
auto dispatch(DataType type, Function&& function) {
  if (type == DataType::kFloat64) return function(TypeTag<double>{});
  return dispatch_up_to_float32(type, function);
}

}  // namespace slice::kernels::detail
