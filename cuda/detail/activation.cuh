#pragma once

// Activations in float32 and float64.

namespace slice::kernels::detail {

__device__ __forceinline__ float exponential(float x) { return expf(x); }
__device__ __forceinline__ double exponential(double x) { return exp(x); }
__device__ __forceinline__ float error_function(float x) { return erff(x); }
__device__ __forceinline__ double error_function(double x) { return erf(x); }
__device__ __forceinline__ float hyperbolic_tangent(float x) { return tanhf(x); }
__device__ __forceinline__ double hyperbolic_tangent(double x) { return tanh(x); }

template <typename A>
__device__ __forceinline__ A silu(A x) {
  return x / (A(1) + exponential(-x));
}

template <typename A>
__device__ __forceinline__ A gelu(A x) {
  return A(0.5) * x * (A(1) + error_function(x * A(0.70710678118654752440)));
}

/// Its approximation by tanh.
template <typename A>
__device__ __forceinline__ A gelu_tanh(A x) {
  const A inner = A(0.79788456080286535588) * (x + A(0.044715) * x * x * x);
  return A(0.5) * x * (A(1) + hyperbolic_tangent(inner));
}

}  // namespace slice::kernels::detail
