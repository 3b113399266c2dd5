#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "cuda/data_type.h"

namespace slice::kernels {

/// What happens to a sum before the residual is added and it is written.
enum class Epilogue {
  kNone,
  kRelu,
  kRelu2,          ///< relu(x)²
  kGelu,           ///< x · Φ(x)
  kGeluTanh,       ///< its approximation by tanh
  kGatedSilu,      ///< rows 2i and 2i + 1 of W are gate and up of channel i: Y has N / 2 columns
  kGatedGeluTanh,  ///< the same with the other activation
};

/// Whether two rows of W make one column of Y.
constexpr bool is_gated(Epilogue epilogue) {
  return epilogue == Epilogue::kGatedSilu || epilogue == Epilogue::kGatedGeluTanh;
}

/// Rows that one call takes.
inline constexpr int64_t kDecodeLinearRows = 32;

/// Rows up to which a call stays near the bandwidth on the current device: 32 of half types on compute
/// capability 9.0, else 8; from there on cuBLAS is as good where N is large
/// (docs/results/shortcut.csv, decode.csv).
int64_t decode_linear_fast_rows(DataType type);

/// The rotated shortcut's kernel: a writer of a sliced decoder with its shortcut, or the readers
/// with their norm, for few tokens, in one pass over the weights.
///
///   Y = scale · epilogue(s(X)·X·Wᵀ + Z·Vᵀ + b) + d ⊙ R   (docs/method.md, "Slicing", "Shortcuts")
///   s(X) = 1/sqrt(Σx²/norm_hidden + eps) of each row, or 1
///
/// Readers: X is the residual stream x, W their weights one below the other. A writer: X is the
/// hidden signal, W = W_out; its shortcut is Z = x, V = Sᵀ where dense, R = x where the identity,
/// R = x with d where diagonal, and R = x, Z = down·x, V = up where low-rank.
///
/// Columns are contiguous, rows as far apart as the strides say. All operands have one type.
struct DecodeLinear {
  void* Y = nullptr;                  // (M, N), gated: (M, N / 2); may be R, overlaps nothing else
  const void* X = nullptr;            // (M, K)
  const void* W = nullptr;            // (N, K), contiguous like a Linear's weight
  const void* Z = nullptr;            // (M, K2), optional, not together with a norm
  const void* V = nullptr;            // (N, K2), contiguous; with Z
  const void* bias = nullptr;         // (N), optional
  const void* R = nullptr;            // (M, residual_columns), optional; columns beyond get none
  const void* diagonal = nullptr;     // (residual_columns), optional: ones
  const void* norm_weight = nullptr;  // (K), optional: α of a model that is not fused
  int64_t norm_hidden = 0;            // D of the norm; 0: no norm
  double eps = 0;
  double scale = 1;  // of what is written, without the residual
  Epilogue epilogue = Epilogue::kNone;
  DataType type = DataType::kFloat16;
  int64_t M = 0;  // 0 … kDecodeLinearRows
  int64_t N = 0;
  int64_t K = 0;
  int64_t K2 = 0;
  int64_t residual_columns = 0;
  int64_t x_row_stride = 0;
  int64_t y_row_stride = 0;
  int64_t z_row_stride = 0;
  int64_t r_row_stride = 0;
  /// Reads the first of W and V while the previous kernel on the stream still runs (compute
  /// capability 9.0; everything else waits for it). False when that kernel writes them.
  bool prefetch = true;
};

/// Columns of Y.
constexpr int64_t columns_of(const DecodeLinear& layer) {
  return is_gated(layer.epilogue) ? layer.N / 2 : layer.N;
}

/// @return   cudaErrorInvalidValue for a bad size, stride, alignment or overlap; else the launch's.
///
/// Half types are multiplied on the tensor cores; sums in float32 (float64 for float64; float32
/// never as TF32), one rounding of Y, one more of x·α where there is a norm_weight. A row has the
/// same bits whatever rows are beside it, up to 8 of them. 16-byte accesses where X, W, Z and V and
/// the lengths of their rows allow; elsewhere element by element, several times slower. Bits may
/// depend on which of both, and on the device.
/// Cost: reads W and V once; docs/performance.md has the measured share of the bandwidth.
cudaError_t decode_linear(const DecodeLinear& layer, cudaStream_t stream);

}  // namespace slice::kernels
