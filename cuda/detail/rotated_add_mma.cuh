#pragma once

#include "cuda/detail/mma.cuh"
#include "cuda/detail/rotated_add_tile.cuh"

// rotated_add for float16 and bfloat16, on the tensor cores.

namespace slice::kernels::detail {

template <int kTileM_, int kTileN_, int kWarpsM_>
struct MmaShape {
  static constexpr int kTileM = kTileM_;
  static constexpr int kTileN = kTileN_;
  static constexpr int kWarpsM = kWarpsM_;
  static constexpr int kWarpsN = kTileThreads / kWarpSize / kWarpsM;
  static constexpr int kWarpM = kTileM / kWarpsM;  // rows of Y a warp owns
  static constexpr int kWarpN = kTileN / kWarpsN;
  static constexpr int kStages = 3;
  static constexpr int kTileK = 32;
  // 80-byte rows: eight consecutive ones start in eight different 16-byte bank groups, so ldmatrix
  // has no conflicts.
  static constexpr int kRow = kTileK + 8;
  static constexpr int kStageElements = (kTileM + kTileN) * kRow;
  static constexpr int kSharedBytes = kStages * kStageElements * 2;
  static constexpr int kEpilogueRow = kWarpN + 4;
  static constexpr int kEpilogueBytes = kTileThreads / kWarpSize * 16 * kEpilogueRow * 4;
  static_assert(kWarpM % 16 == 0 && kWarpN % 16 == 0);
  static_assert(kEpilogueBytes <= kSharedBytes);
};
using SmallMma = MmaShape<64, 64, 4>;    // warps of 16×32
using LargeMma = MmaShape<128, 128, 2>;  // warps of 64×32

// rows × kTileK of `source`, from (row, k), into `tile`; zeros outside. kVector: cp.async of 16
// bytes, where a pack is inside or outside as a whole; else element by element.
template <typename Shape, int kRows, bool kVector, typename T>
__device__ __forceinline__ void load_tile(T* tile, const T* source, int64_t stride, int64_t row,
                                          int64_t rows, int64_t k, int64_t columns) {
  if constexpr (kVector) {
    constexpr int kPack = kVectorBytes / static_cast<int>(sizeof(T));
    constexpr int kPacks = Shape::kTileK / kPack;
    static_assert(kRows * kPacks % kTileThreads == 0);
#pragma unroll
    for (int i = 0; i < kRows * kPacks / kTileThreads; ++i) {
      const int index = i * kTileThreads + static_cast<int>(threadIdx.x);
      const int r = index / kPacks;
      const int c = index % kPacks * kPack;
      const bool valid = row + r < rows && k + c < columns;
      const T* address = valid ? source + (row + r) * stride + k + c : source;
      copy_16_async(tile + r * Shape::kRow + c, address, valid);
    }
  } else {
#pragma unroll 4
    for (int i = 0; i < kRows * Shape::kTileK / kTileThreads; ++i) {
      const int index = i * kTileThreads + static_cast<int>(threadIdx.x);
      const int r = index / Shape::kTileK;
      const int c = index % Shape::kTileK;
      const bool valid = row + r < rows && k + c < columns;
      tile[r * Shape::kRow + c] = valid ? source[(row + r) * stride + k + c] : narrow<T>(0.0f);
    }
  }
}

template <typename T, typename Shape, bool kVector>
__global__ void __launch_bounds__(kTileThreads, 2) rotated_add_mma_kernel(const RotatedAdd<T> p) {
  extern __shared__ __align__(16) unsigned char shared[];
  T* stages = reinterpret_cast<T*>(shared);
  constexpr int kM = Shape::kWarpM / 16;
  constexpr int kN = Shape::kWarpN / 8;

  const TileOrigin origin = tile_origin<Shape::kTileM, Shape::kTileN>(p.n, p.d_out);
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
  const int warp_row = warp / Shape::kWarpsN * Shape::kWarpM;
  const int warp_column = warp % Shape::kWarpsN * Shape::kWarpN;

  const int steps = static_cast<int>(ceil_div(p.d_in, Shape::kTileK));
  const auto load_stage = [&](int step) {
    if (step < steps) {
      T* x_tile = stages + step % Shape::kStages * Shape::kStageElements;
      T* w_tile = x_tile + Shape::kTileM * Shape::kRow;
      const int64_t k = int64_t{step} * Shape::kTileK;
      load_tile<Shape, Shape::kTileM, kVector>(x_tile, p.X, p.x_row_stride, origin.row, p.n, k,
                                               p.d_in);
      load_tile<Shape, Shape::kTileN, kVector>(w_tile, p.W, p.d_in, origin.column, p.d_out, k,
                                               p.d_in);
    }
    commit_copies();  // an empty group past the end keeps the count of groups in step
  };

  float sums[kM][kN][4] = {};
#pragma unroll
  for (int s = 0; s < Shape::kStages - 1; ++s) load_stage(s);

  for (int step = 0; step < steps; ++step) {
    wait_for_copies<Shape::kStages - 2>();
    // All copies of this step have landed; all warps are done with the stage that is filled next.
    __syncthreads();
    load_stage(step + Shape::kStages - 1);

    const T* x_tile = stages + step % Shape::kStages * Shape::kStageElements;
    const T* w_tile = x_tile + Shape::kTileM * Shape::kRow;
#pragma unroll
    for (int k = 0; k < Shape::kTileK; k += 16) {
      uint32_t a[kM][4];
#pragma unroll
      for (int i = 0; i < kM; ++i) {  // matrices: rows 0–7 and 8–15 at k, then both at k + 8
        const int row = warp_row + i * 16 + lane % 16;
        load_matrices(a[i], x_tile + row * Shape::kRow + k + lane / 16 * 8);
      }
#pragma unroll
      for (int j = 0; j < kN; j += 2) {  // matrices: columns 0–7 at k and k + 8, then columns 8–15
        uint32_t b[4];
        const int column = warp_column + j * 8 + lane / 16 * 8 + lane % 8;
        load_matrices(b, w_tile + column * Shape::kRow + k + lane / 8 % 2 * 8);
#pragma unroll
        for (int i = 0; i < kM; ++i) {
          multiply_add<T>(sums[i][j], a[i], b[0], b[1]);
          multiply_add<T>(sums[i][j + 1], a[i], b[2], b[3]);
        }
      }
    }
  }

  // Through shared memory, so that R and Y move in packs of whole rows; each warp has its own 16
  // rows of it.
  wait_for_copies<0>();
  __syncthreads();
  constexpr int kPack = kVectorBytes / static_cast<int>(sizeof(T));
  constexpr int kPacks = Shape::kWarpN / kPack;
  float* slice = reinterpret_cast<float*>(shared) + warp * 16 * Shape::kEpilogueRow;
#pragma unroll
  for (int i = 0; i < kM; ++i) {
#pragma unroll
    for (int j = 0; j < kN; ++j) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float* target = slice + (lane / 4 + half * 8) * Shape::kEpilogueRow + j * 8 + lane % 4 * 2;
        target[0] = sums[i][j][half * 2];
        target[1] = sums[i][j][half * 2 + 1];
      }
    }
    __syncwarp();
#pragma unroll
    for (int index = lane; index < 16 * kPacks; index += kWarpSize) {
      const int row = index / kPacks;
      const int column = index % kPacks * kPack;
      float values[kPack];
#pragma unroll
      for (int v = 0; v < kPack; ++v) values[v] = slice[row * Shape::kEpilogueRow + column + v];
      add_and_store<T, kPack>(p, origin.row + warp_row + i * 16 + row,
                              origin.column + warp_column + column, values);
    }
    __syncwarp();
  }
}

}  // namespace slice::kernels::detail
