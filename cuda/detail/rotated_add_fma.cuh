#pragma once

#include "cuda/detail/rotated_add_tile.cuh"

// rotated_add for float32 and float64, by fused multiply-adds.

namespace slice::kernels::detail {

struct FmaShape {
  static constexpr int kTile = 64;
  static constexpr int kTileK = 16;
  // A thread owns kOwn × kOwn entries of Y and loads kOwn of X and of W a step.
  static constexpr int kOwn = 4;
  // Keeps 16-byte alignment and spreads the transposing stores over the banks.
  static constexpr int kRow = kTile + 4;
  static_assert(kTile * kTileK == kOwn * kTileThreads &&
                kTile / kOwn * (kTile / kOwn) == kTileThreads);
};

template <bool kVector, typename T>
__device__ __forceinline__ Pack<T, FmaShape::kOwn> fetch(const T* source, int64_t stride,
                                                         int64_t row, int64_t rows, int64_t k,
                                                         int64_t columns) {
  using P = Pack<T, FmaShape::kOwn>;
  P pack = {};
  if (row >= rows) return pack;
  const T* address = source + row * stride + k;
  if constexpr (kVector) {  // columns is a multiple of the pack
    if (k < columns) pack = *reinterpret_cast<const P*>(address);
  } else {
#pragma unroll
    for (int i = 0; i < FmaShape::kOwn; ++i) {
      if (k + i < columns) pack.values[i] = address[i];
    }
  }
  return pack;
}

template <typename T, bool kVector>
__global__ void __launch_bounds__(kTileThreads, 2) rotated_add_fma_kernel(const RotatedAdd<T> p) {
  using S = FmaShape;
  using P = Pack<T, S::kOwn>;
  __shared__ __align__(16) T x_tile[2][S::kTileK][S::kRow];  // both transposed: k first
  __shared__ __align__(16) T w_tile[2][S::kTileK][S::kRow];

  const TileOrigin origin = tile_origin<S::kTile, S::kTile>(p.n, p.d_out);
  const int load_row = static_cast<int>(threadIdx.x) / (S::kTileK / S::kOwn);
  const int load_k = static_cast<int>(threadIdx.x) % (S::kTileK / S::kOwn) * S::kOwn;
  const int own_row = static_cast<int>(threadIdx.x) / (S::kTile / S::kOwn) * S::kOwn;
  const int own_column = static_cast<int>(threadIdx.x) % (S::kTile / S::kOwn) * S::kOwn;

  const auto fetch_x = [&](int64_t k) {
    return fetch<kVector>(p.X, p.x_row_stride, origin.row + load_row, p.n, k + load_k, p.d_in);
  };
  const auto fetch_w = [&](int64_t k) {
    return fetch<kVector>(p.W, p.d_in, origin.column + load_row, p.d_out, k + load_k, p.d_in);
  };
  const auto store = [&](int stage, const P& x, const P& w) {
#pragma unroll
    for (int i = 0; i < S::kOwn; ++i) {
      x_tile[stage][load_k + i][load_row] = x.values[i];
      w_tile[stage][load_k + i][load_row] = w.values[i];
    }
  };

  T sums[S::kOwn][S::kOwn] = {};
  const int steps = static_cast<int>(ceil_div(p.d_in, S::kTileK));
  if (steps > 0) store(0, fetch_x(0), fetch_w(0));
  __syncthreads();
  for (int step = 0; step < steps; ++step) {
    const int stage = step % 2;
    const int64_t next = (int64_t{step} + 1) * S::kTileK;
    const P next_x = fetch_x(next);  // zeros past the end
    const P next_w = fetch_w(next);
#pragma unroll
    for (int k = 0; k < S::kTileK; ++k) {
      const P x = *reinterpret_cast<const P*>(&x_tile[stage][k][own_row]);
      const P w = *reinterpret_cast<const P*>(&w_tile[stage][k][own_column]);
#pragma unroll
      for (int i = 0; i < S::kOwn; ++i) {
#pragma unroll
        for (int j = 0; j < S::kOwn; ++j) sums[i][j] += x.values[i] * w.values[j];
      }
    }
    // The other stage was last read before the previous barrier.
    store(1 - stage, next_x, next_w);
    __syncthreads();
  }

#pragma unroll
  for (int i = 0; i < S::kOwn; ++i) {
    add_and_store<T, S::kOwn>(p, origin.row + own_row + i, origin.column + own_column, sums[i]);
  }
}

}  // namespace slice::kernels::detail
