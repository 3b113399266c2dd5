#pragma once

#include "cuda/decode_linear.h"
#include "cuda/detail/activation.cuh"
#include "cuda/detail/numeric.cuh"

// decode_linear: what its kernels share, and what happens to a sum.

namespace slice::kernels::detail {

/// DecodeLinear with its type.
template <typename T>
struct DecodeLinearOperands {
  T* Y;
  const T* X;
  const T* W;
  const T* Z;
  const T* V;
  const T* bias;
  const T* R;
  const T* diagonal;
  const T* norm_weight;
  Accumulator<T> norm_hidden;  // 0: no norm
  Accumulator<T> eps;
  Accumulator<T> scale;
  Epilogue epilogue;
  bool gated;  // is_gated(epilogue)
  int M;
  int64_t N;
  int64_t K;
  int64_t K2;
  int64_t residual_columns;
  int64_t x_row_stride;
  int64_t y_row_stride;
  int64_t z_row_stride;
  int64_t r_row_stride;

  /// Rows of length K that a block holds beside W's: X's, and the weight of the norm.
  __host__ __device__ int signals() const { return M + (norm_weight != nullptr ? 1 : 0); }
  /// Neighbouring rows of W that make one column of Y.
  __host__ __device__ int rows_per_column() const { return gated ? 2 : 1; }
};

template <typename T>
DecodeLinearOperands<T> operands_of(const DecodeLinear& l) {
  const auto in = [](const void* pointer) { return static_cast<const T*>(pointer); };
  using A = Accumulator<T>;
  return {static_cast<T*>(l.Y),
          in(l.X),
          in(l.W),
          in(l.Z),
          in(l.V),
          in(l.bias),
          in(l.R),
          in(l.diagonal),
          in(l.norm_weight),
          static_cast<A>(l.norm_hidden),
          static_cast<A>(l.eps),
          static_cast<A>(l.scale),
          l.epilogue,
          is_gated(l.epilogue),
          static_cast<int>(l.M),
          l.N,
          l.K,
          l.K2,
          l.residual_columns,
          l.x_row_stride,
          l.y_row_stride,
          l.z_row_stride,
          l.r_row_stride};
}

template <typename A>
__device__ __forceinline__ A activated(A x, Epilogue epilogue) {
  switch (epilogue) {
    case Epilogue::kRelu:
      return x < A(0) ? A(0) : x;  // NaN stays
    case Epilogue::kRelu2:
      return x < A(0) ? A(0) : x * x;
    case Epilogue::kGelu:
      return gelu(x);
    case Epilogue::kGeluTanh:
    case Epilogue::kGatedGeluTanh:
      return gelu_tanh(x);
    case Epilogue::kGatedSilu:
      return silu(x);
    default:
      return x;
  }
}

/// The factor of a row's sums from its sum of squares.
template <typename T>
__device__ __forceinline__ Accumulator<T> norm_scale(const DecodeLinearOperands<T>& p,
                                                     Accumulator<T> squares) {
  return Accumulator<T>(1) / square_root(squares / p.norm_hidden + p.eps);
}

/// Of a piece of eight elements of X.
template <typename T>
__device__ __forceinline__ float sum_of_squares(const uint4& piece) {
  Pack<T, 8> pack;
  memcpy(&pack, &piece, sizeof pack);
  float sum = 0;
#pragma unroll
  for (int i = 0; i < 8; ++i) sum += widen(pack.values[i]) * widen(pack.values[i]);
  return sum;
}

/// The piece times the weights of the norm.
template <typename T>
__device__ __forceinline__ uint4 weighted(const uint4& piece, const uint4& weights) {
  Pack<T, 8> pack, factors;
  memcpy(&pack, &piece, sizeof pack);
  memcpy(&factors, &weights, sizeof factors);
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    pack.values[i] = narrow<T>(widen(pack.values[i]) * widen(factors.values[i]));
  }
  uint4 result;
  memcpy(&result, &pack, sizeof result);
  return result;
}

/// Y[row, column] from the sum of W's row `column`, or, gated, from those of its rows 2·column and
/// 2·column + 1. R is read here: the thread that writes Y calls this, they may be one.
template <typename T>
__device__ __forceinline__ T finished(const DecodeLinearOperands<T>& p, int row, int64_t column,
                                      Accumulator<T> sum, Accumulator<T> gated_sum) {
  using A = Accumulator<T>;
  A y;
  if (p.gated) {
    const A gate = p.bias == nullptr ? sum : sum + widen(p.bias[2 * column]);
    const A up = p.bias == nullptr ? gated_sum : gated_sum + widen(p.bias[2 * column + 1]);
    y = activated(gate, p.epilogue) * up;
  } else {
    y = activated(p.bias == nullptr ? sum : sum + widen(p.bias[column]), p.epilogue);
  }
  y *= p.scale;
  if (column < p.residual_columns) {
    const A residual = widen(p.R[row * p.r_row_stride + column]);
    y += p.diagonal == nullptr ? residual : residual * widen(p.diagonal[column]);
  }
  return narrow<T>(y);
}

/// Writes Y[row, column], which finished() makes.
template <typename T>
__device__ __forceinline__ void finish(const DecodeLinearOperands<T>& p, int row, int64_t column,
                                       Accumulator<T> sum, Accumulator<T> gated_sum) {
  p.Y[row * p.y_row_stride + column] = finished(p, row, column, sum, gated_sum);
}

}  // namespace slice::kernels::detail
