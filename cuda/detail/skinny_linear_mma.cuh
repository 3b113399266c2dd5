#pragma once

#include "cuda/detail/dependent_launch.cuh"
#include "cuda/detail/mma.cuh"
#include "cuda/detail/skinny_linear.cuh"

// skinny_linear for float16 and bfloat16, on the tensor cores.
//
// A product of 16 × 8 × 16 takes 16 rows of X and 8 of W. Lane 4g + t holds columns 2t, 2t + 1,
// 2t + 8 and 2t + 9 of row g, and a sum may run over k in any order that is the same on both sides:
// here the lane's columns of two products are 8t … 8t + 7, one access of 16 bytes in either matrix.
// So each lane consumes just what it loaded, and shared memory is but the lane's own queue of
// accesses under way: no barrier before the sums of the warps are added.

#ifndef SKINNY_RING_KB
#define SKINNY_RING_KB 96
#endif
#ifndef SKINNY_HALVES
#define SKINNY_HALVES 2
#endif
#ifndef SKINNY_TRIGGER
#define SKINNY_TRIGGER 0
#endif

namespace slice::kernels::detail {

/// kOctets × 8 rows of W a pass, kGroups × 8 rows of X.
template <int kOctets_, int kGroups_, bool kVector_>
struct SkinnyShape {
  static constexpr int kOctets = kOctets_;
  static constexpr int kGroups = kGroups_;
  static constexpr bool kVector = kVector_;
  static constexpr int kWarps = 8;
  static constexpr int kThreads = kWarps * 32;
  static constexpr int kPiece = 8;                    // elements of an access
  static constexpr int kHalf = 4 * kPiece;            // columns of a row in one access of a warp
  static constexpr int kHalves = SKINNY_HALVES;                   // both halves of a 128-byte line together
  static constexpr int kBlock = kHalf * kHalves;      // columns a warp takes a step
  static constexpr int kRows = 8 * kOctets;
  static constexpr int kSignals = 8 * kGroups;
  static constexpr int kPieces = (kOctets + kGroups) * kHalves;
  static constexpr int kStageBytes = kPieces * kThreads * 16;
  // Two kernels share a multiprocessor while one ends and the next begins.
  static constexpr int kRingBytes = SKINNY_RING_KB * 1024;
  static constexpr int kStages = kRingBytes / kStageBytes < 12 ? kRingBytes / kStageBytes : 12;
  static constexpr int kPartialRow = kRows + 1;  // spreads the rows over the banks
  static constexpr int kPartials = kSignals * kPartialRow;
  static constexpr int kSharedBytes =
      kStages * kStageBytes + kWarps * (kPartials + kSignals) * static_cast<int>(sizeof(float));
  static_assert(kStages >= 2);
};

// Eight elements behind `source` to the lane's slot, zeros from `valid` on.
template <bool kVector, typename T>
__device__ __forceinline__ void fetch_piece(uint4* slot, const T* source, int64_t valid) {
  if constexpr (kVector) {  // a piece is inside or outside as a whole
    copy_16_async(slot, source, valid > 0);
  } else {
    Pack<T, 8> pack;
#pragma unroll
    for (int i = 0; i < 8; ++i) pack.values[i] = i < valid ? source[i] : narrow<T>(0.0f);
    memcpy(slot, &pack, sizeof pack);
  }
}

template <typename T>
__device__ __forceinline__ float sum_of_squares(const uint4& piece) {
  Pack<T, 8> pack;
  memcpy(&pack, &piece, sizeof pack);
  float sum = 0;
#pragma unroll
  for (int i = 0; i < 8; ++i) sum += widen(pack.values[i]) * widen(pack.values[i]);
  return sum;
}

// The piece times the weights of the norm from `k` on.
template <bool kVector, typename T>
__device__ __forceinline__ uint4 weighted(const uint4& piece, const T* weights, int64_t k,
                                          int64_t columns) {
  Pack<T, 8> pack, factors;
  memcpy(&pack, &piece, sizeof pack);
  if (kVector && k < columns) {
    factors = *reinterpret_cast<const Pack<T, 8>*>(weights + k);
  } else {
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      factors.values[i] = k + i < columns ? weights[k + i] : narrow<T>(0.0f);
    }
  }
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    pack.values[i] = narrow<T>(widen(pack.values[i]) * widen(factors.values[i]));
  }
  uint4 result;
  memcpy(&result, &pack, sizeof result);
  return result;
}

// One warp's road through its blocks of k, pass after pass over the rows of its thread block.
template <typename T, typename Shape>
class SkinnyWarp {
 public:
  __device__ __forceinline__ SkinnyWarp(const SkinnyOperands<T>& operands, uint4* ring)
      : p(operands), ring_(ring) {
    lane_row_ = static_cast<int>(threadIdx.x) % 32 / 4;
    lane_k_ = static_cast<int>(threadIdx.x) % 4 * Shape::kPiece;
    warp_ = static_cast<int>(threadIdx.x) / 32;
    w_blocks_ = static_cast<int>(ceil_div(p.K, Shape::kBlock));
    const int blocks = w_blocks_ + static_cast<int>(ceil_div(p.K2, Shape::kBlock));
    steps = blocks > warp_ ? (blocks - warp_ + Shape::kWarps - 1) / Shape::kWarps : 0;
    const int unit = p.rows_per_column();
    const int64_t columns = p.N / unit;
    const int64_t first = columns * blockIdx.x / gridDim.x;
    const int64_t last = columns * (blockIdx.x + 1) / gridDim.x;
    first_row_ = first * unit;
    columns_ = static_cast<int>(last - first);
    unit_ = unit;
    passes = (columns_ * unit + Shape::kRows - 1) / Shape::kRows;
  }

  // Rows of W of a pass: [begin, end), whole columns of Y, spread evenly.
  __device__ __forceinline__ int64_t begin_of(int pass) const {
    return first_row_ + int64_t{columns_} * pass / passes * unit_;
  }

  __device__ __forceinline__ uint4* slot(int stage, int piece) const {
    return ring_ + (stage * Shape::kPieces + piece) * Shape::kThreads + threadIdx.x;
  }

  __device__ __forceinline__ bool is_second(int step) const {
    return warp_ + step * Shape::kWarps >= w_blocks_;
  }
  // The lane's first column of a step, in W or in V.
  __device__ __forceinline__ int64_t column_of(int step) const {
    const int block = warp_ + step * Shape::kWarps;
    return int64_t{block >= w_blocks_ ? block - w_blocks_ : block} * Shape::kBlock + lane_k_;
  }

  __device__ __forceinline__ void fetch_weights(int stage, int64_t begin, int64_t end,
                                                int step) const {
    const bool second = is_second(step);
    const T* source = second ? p.V : p.W;
    const int64_t columns = second ? p.K2 : p.K;
    const int64_t k = column_of(step);
#pragma unroll
    for (int o = 0; o < Shape::kOctets; ++o) {
      const int64_t row = begin + 8 * o + lane_row_;
      const T* address = source + row * columns + k;
#pragma unroll
      for (int h = 0; h < Shape::kHalves; ++h) {
        const int64_t valid = row < end ? columns - k - h * Shape::kHalf : 0;
        fetch_piece<Shape::kVector>(slot(stage, o * Shape::kHalves + h),
                                    valid > 0 ? address + h * Shape::kHalf : source, valid);
      }
    }
  }

  __device__ __forceinline__ void fetch_signals(int stage, int step) const {
    const bool second = is_second(step);
    const T* source = second ? p.Z : p.X;
    const int64_t columns = second ? p.K2 : p.K;
    const int64_t stride = second ? p.z_row_stride : p.x_row_stride;
    const int64_t k = column_of(step);
#pragma unroll
    for (int r = 0; r < Shape::kGroups; ++r) {
      const int row = 8 * r + lane_row_;
      const T* address = source + row * stride + k;
#pragma unroll
      for (int h = 0; h < Shape::kHalves; ++h) {
        const int64_t valid = row < p.M ? columns - k - h * Shape::kHalf : 0;
        fetch_piece<Shape::kVector>(
            slot(stage, (Shape::kOctets + r) * Shape::kHalves + h),
            valid > 0 ? address + h * Shape::kHalf : source, valid);
      }
    }
  }

  // sums[o] += X's 16 rows · W's octet o; squares += those of the lane's elements of X.
  __device__ __forceinline__ void multiply(int stage, int step, float (&sums)[Shape::kOctets][4],
                                           float (&squares)[Shape::kGroups]) const {
#pragma unroll
    for (int h = 0; h < Shape::kHalves; ++h) {
      uint4 x[2] = {};
#pragma unroll
      for (int r = 0; r < Shape::kGroups; ++r) {
        x[r] = *slot(stage, (Shape::kOctets + r) * Shape::kHalves + h);
        if (p.norm_hidden > 0) squares[r] += sum_of_squares<T>(x[r]);
        if (p.norm_weight != nullptr) {
          x[r] = weighted<Shape::kVector>(x[r], p.norm_weight,
                                          column_of(step) + h * Shape::kHalf, p.K);
        }
      }
      const uint32_t low[4] = {x[0].x, x[1].x, x[0].y, x[1].y};
      const uint32_t high[4] = {x[0].z, x[1].z, x[0].w, x[1].w};
#pragma unroll
      for (int o = 0; o < Shape::kOctets; ++o) {
        const uint4 w = *slot(stage, o * Shape::kHalves + h);
        multiply_add<T>(sums[o], low, w.x, w.y);
        multiply_add<T>(sums[o], high, w.z, w.w);
      }
    }
  }

  // Adds the warps' sums, in their order, and writes the columns of Y that the pass has made.
  __device__ __forceinline__ void write(int pass, const float (&sums)[Shape::kOctets][4],
                                        const float (&squares)[Shape::kGroups]) const {
    float* partials = reinterpret_cast<float*>(ring_ + Shape::kStages * Shape::kPieces *
                                                           Shape::kThreads);
    float* partial_squares = partials + Shape::kWarps * Shape::kPartials;
    const int quad = static_cast<int>(threadIdx.x) % 4;
    __syncthreads();  // the sums of the pass before have been read
#pragma unroll
    for (int r = 0; r < Shape::kGroups; ++r) {
      const int signal = 8 * r + lane_row_;
      float* own = partials + warp_ * Shape::kPartials + signal * Shape::kPartialRow + 2 * quad;
#pragma unroll
      for (int o = 0; o < Shape::kOctets; ++o) {
        own[8 * o] = sums[o][2 * r];
        own[8 * o + 1] = sums[o][2 * r + 1];
      }
      float square = squares[r];
      square += __shfl_xor_sync(0xffffffffu, square, 1);
      square += __shfl_xor_sync(0xffffffffu, square, 2);
      if (quad == 0) partial_squares[warp_ * Shape::kSignals + signal] = square;
    }
    __syncthreads();

    const int64_t begin = begin_of(pass);
    const int columns = static_cast<int>(begin_of(pass + 1) - begin) / unit_;
    for (int i = static_cast<int>(threadIdx.x); i < columns * p.M; i += Shape::kThreads) {
      const int signal = i / columns;
      const int row = i % columns * unit_;
      float sum = 0;
      float gated_sum = 0;
      float square = 0;
#pragma unroll
      for (int w = 0; w < Shape::kWarps; ++w) {
        const float* own = partials + w * Shape::kPartials + signal * Shape::kPartialRow + row;
        sum += own[0];
        if (unit_ == 2) gated_sum += own[1];
        square += partial_squares[w * Shape::kSignals + signal];
      }
      const float scale = p.norm_hidden > 0 ? norm_scale(p, square) : 1.0f;
      finish(p, signal, (begin + row) / unit_, sum * scale, gated_sum * scale);
    }
  }

  int steps;   // of a pass
  int passes;

 private:
  const SkinnyOperands<T>& p;
  uint4* ring_;
  int lane_row_;
  int lane_k_;
  int warp_;
  int w_blocks_;
  int unit_;
  int columns_;
  int64_t first_row_;
};

template <typename T, typename Shape>
__global__ void __launch_bounds__(Shape::kThreads, 2)
    skinny_linear_mma_kernel(const __grid_constant__ SkinnyOperands<T> p) {
  extern __shared__ uint4 ring[];
  const SkinnyWarp<T, Shape> warp(p, ring);
  const int total = warp.passes * warp.steps;

  // Weights do not depend on the kernel in front of this one: its end hides the way to them.
  struct {
    int64_t begin, end;
    int pass, step;
  } next = {warp.begin_of(0), warp.begin_of(1), 0, 0};
  const auto advance = [&] {
    if (++next.step == warp.steps) {
      next.step = 0;
      ++next.pass;
      next.begin = next.end;
      next.end = warp.begin_of(next.pass + 1);
    }
  };
#pragma unroll 1
  for (int stage = 0; stage < Shape::kStages && stage < total; ++stage) {
    warp.fetch_weights(stage, next.begin, next.end, next.step);
    advance();
  }
  wait_for_previous_kernel();
  if (SKINNY_TRIGGER == 1 && threadIdx.x == 0) start_next_kernel();
#pragma unroll 1
  for (int stage = 0, step = 0; stage < Shape::kStages; ++stage) {
    if (stage < total) warp.fetch_signals(stage, step);
    commit_copies();
    if (++step == warp.steps) step = 0;
  }
  if (SKINNY_TRIGGER == 0 && total <= Shape::kStages && threadIdx.x == 0) start_next_kernel();

  int stage = 0;
  int index = 0;
  for (int pass = 0; pass < warp.passes; ++pass) {
    float sums[Shape::kOctets][4] = {};
    float squares[Shape::kGroups] = {};
#pragma unroll 1
    for (int step = 0; step < warp.steps; ++step) {
      wait_for_copies<Shape::kStages - 1>();
      warp.multiply(stage, step, sums, squares);
      if (next.pass < warp.passes) {
        warp.fetch_weights(stage, next.begin, next.end, next.step);
        warp.fetch_signals(stage, next.step);
        advance();
        // The last loads are under way: the next kernel's can follow them.
        if (SKINNY_TRIGGER == 0 && next.pass == warp.passes && threadIdx.x == 0) start_next_kernel();
      }
      commit_copies();  // an empty group past the end keeps the count of groups in step
      stage = stage + 1 == Shape::kStages ? 0 : stage + 1;
      ++index;
    }
    warp.write(pass, sums, squares);
  }
}

}  // namespace slice::kernels::detail
