#pragma once

#include <cstdint>

#include "cuda/detail/numeric.cuh"

// rotated_add: what its kernels share.

namespace slice::kernels::detail {

inline constexpr int kTileThreads = 256;
inline constexpr int kWarpSize = 32;
inline constexpr int kVectorBytes = 16;
inline constexpr int kTileRowsTogether = 8;

template <typename T>
struct RotatedAdd {
  T* Y;
  const T* X;
  const T* W;
  const T* R;
  int64_t n;
  int64_t d_in;
  int64_t d_out;
  int64_t x_row_stride;
  bool vector_rows;  // R and Y move in packs
};

struct TileOrigin {
  int64_t row;
  int64_t column;
};

template <int kTileM, int kTileN>
__device__ __forceinline__ TileOrigin tile_origin(int64_t n, int64_t d_out) {
  const int64_t tiles_m = ceil_div(n, kTileM);
  const int64_t tiles_n = ceil_div(d_out, kTileN);
  const int64_t first = blockIdx.x / (kTileRowsTogether * tiles_n) * kTileRowsTogether;
  const int64_t rest = blockIdx.x % (kTileRowsTogether * tiles_n);
  const int64_t together =
      tiles_m - first < kTileRowsTogether ? tiles_m - first : kTileRowsTogether;
  return {(first + rest % together) * kTileM, rest / together * kTileN};
}

// Y[row, column …] ← sums + R[row, column …], the kCount columns from `column` on, which is a
// multiple of kCount. R is read through the plain path: it may be Y.
template <typename T, int kCount>
__device__ __forceinline__ void add_and_store(const RotatedAdd<T>& p, int64_t row, int64_t column,
                                              const Accumulator<T> (&sums)[kCount]) {
  if (row >= p.n || column >= p.d_out) return;
  const int64_t offset = row * p.d_out + column;
  if (p.vector_rows) {  // then d_out is a multiple of kCount: a pack is never cut
    const auto residual = *reinterpret_cast<const Pack<T, kCount>*>(p.R + offset);
    Pack<T, kCount> result;
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      result.values[i] = narrow<T>(sums[i] + widen(residual.values[i]));
    }
    store_pack(p.Y + offset, result);
  } else {
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      if (column + i < p.d_out) {
        p.Y[offset + i] = narrow<T>(sums[i] + widen(p.R[offset + i]));
      }
    }
  }
}

}  // namespace slice::kernels::detail
