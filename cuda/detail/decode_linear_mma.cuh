#pragma once

#include "cuda/detail/decode_linear.cuh"
#include "cuda/detail/dependent_launch.cuh"
#include "cuda/detail/mma.cuh"
#include "cuda/detail/warp.cuh"

// decode_linear for float16 and bfloat16, on the tensor cores.
//
// A product of 16 × 8 × 16 takes 16 rows of X and 8 of W. Lane 4g + t holds columns 2t, 2t + 1,
// 2t + 8 and 2t + 9 of row g, and a sum may run over k in any order that is the same on both sides:
// here the lane's columns of two products are 8t … 8t + 7, one access of 16 bytes to either matrix.

namespace slice::kernels::detail {

/// kOctets × 8 rows of W a block of kWarps warps, kGroups × 8 rows of X; kStages chunks of kChunk
/// columns under way.
template <int kWarps_, int kOctets_, int kGroups_, int kChunk_, int kStages_, bool kVector_>
struct DecodeLinearShape {
  static constexpr int kWarps = kWarps_;
  static constexpr int kOctets = kOctets_;
  static constexpr int kGroups = kGroups_;
  static constexpr int kChunk = kChunk_;
  static constexpr int kStages = kStages_;
  static constexpr bool kVector = kVector_;
  static constexpr int kThreads = kWarps * kWarp;
  static constexpr int kPiece = 8;  // elements of an access
  static constexpr int kRowPieces = kChunk / kPiece;
  // A warp owns the same columns whatever the chunk: the bits depend on kWarps alone.
  static constexpr int kOwnPieces = 16;
  static constexpr int kActiveWarps = kRowPieces / kOwnPieces;  // of a chunk
  static_assert(kWarps % kActiveWarps == 0);
  static constexpr int kRows = 8 * kOctets;
  static constexpr int kSignals = 8 * kGroups;
  static constexpr int kPartialRow = kRows + 1;  // spreads the rows over the banks
  static constexpr int kPartials = kSignals * kPartialRow;
  static constexpr int kPartialBytes = kWarps * (kPartials + kSignals) * 4;

  /// @param signals  rows of X, and one more where the norm has a weight
  static int shared_bytes(int signals) {
    const int ring = kStages * (kRows + signals) * kRowPieces * 16;
    return ring > kPartialBytes ? ring : kPartialBytes;
  }
};

// Eight elements from `source` on, zeros from `valid` on.
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

// A block's rows of W and its ring of chunks: first all of W's, then V's.
template <typename T, typename Shape>
class DecodeLinearBlock {
 public:
  __device__ __forceinline__ DecodeLinearBlock(const DecodeLinearOperands<T>& operands, uint4* ring)
      : p(operands),
        ring_(ring),
        stage_pieces_((Shape::kRows + operands.signals()) * Shape::kRowPieces),
        lane_(lane_of_thread()),
        warp_(warp_of_thread()),
        w_chunks_(static_cast<int>(ceil_div(operands.K, Shape::kChunk))),
        chunks(w_chunks_ + static_cast<int>(ceil_div(operands.K2, Shape::kChunk))),
        unit_(operands.rows_per_column()) {
    const int64_t columns = p.N / unit_;
    begin_ = columns * blockIdx.x / gridDim.x * unit_;
    end_ = columns * (blockIdx.x + 1) / gridDim.x * unit_;
  }

  __device__ __forceinline__ void fetch_weights(int stage, int chunk) const {
    const bool second = chunk >= w_chunks_;
    const T* source = second ? p.V : p.W;
    const int64_t columns = second ? p.K2 : p.K;
    const int64_t first = first_column(chunk);
#pragma unroll
    for (int r = 0; r < Shape::kRows; r += Shape::kWarps) {
      const int64_t row = begin_ + r + warp_;
      fetch_row(stage, r + warp_, source, source + row * columns, first, row < end_ ? columns : 0);
    }
    // The norm's weight is a row of the queue: read where it is used, it would stall every chunk.
    if (p.norm_weight != nullptr && warp_ == Shape::kWarps - 1) {
      fetch_row(stage, Shape::kRows + p.M, p.norm_weight, p.norm_weight, first,
                second ? 0 : columns);
    }
  }

  __device__ __forceinline__ void fetch_signals(int stage, int chunk) const {
    const bool second = chunk >= w_chunks_;
    const T* source = second ? p.Z : p.X;
    const int64_t stride = second ? p.z_row_stride : p.x_row_stride;
    const int64_t first = first_column(chunk);
    for (int row = warp_; row < p.M; row += Shape::kWarps) {
      fetch_row(stage, Shape::kRows + row, source, source + row * stride, first,
                second ? p.K2 : p.K);
    }
  }

  // sums[o] += X's 16 rows · W's octet o; squares += those of the lane's elements of X.
  __device__ __forceinline__ void multiply(int stage, int chunk, float (&sums)[Shape::kOctets][4],
                                           float (&squares)[Shape::kGroups]) const {
    const int64_t first = first_column(chunk);
    const int turn =
        static_cast<int>(first / Shape::kChunk) % (Shape::kWarps / Shape::kActiveWarps);
    if (warp_ / Shape::kActiveWarps != turn) return;
    const int row = lane_ / 4;
#pragma unroll
    for (int h = 0; h < Shape::kOwnPieces; h += 4) {
      const int piece = warp_ % Shape::kActiveWarps * Shape::kOwnPieces + h + lane_ % 4;
      uint4 x[2] = {};
#pragma unroll
      for (int r = 0; r < Shape::kGroups; ++r) {
        if (8 * r + row >= p.M) continue;
        x[r] = *slot(stage, Shape::kRows + 8 * r + row, piece);
        if (p.norm_hidden > 0) squares[r] += sum_of_squares<T>(x[r]);
        if (p.norm_weight != nullptr) {
          x[r] = weighted<T>(x[r], *slot(stage, Shape::kRows + p.M, piece));
        }
      }
      const uint32_t low[4] = {x[0].x, x[1].x, x[0].y, x[1].y};
      const uint32_t high[4] = {x[0].z, x[1].z, x[0].w, x[1].w};
#pragma unroll
      for (int o = 0; o < Shape::kOctets; ++o) {
        const uint4 w = *slot(stage, 8 * o + row, piece);
        multiply_add<T>(sums[o], low, w.x, w.y);
        multiply_add<T>(sums[o], high, w.z, w.w);
      }
    }
  }

  // Adds the warps' sums, in their order, and writes the block's columns of Y.
  __device__ __forceinline__ void write(const float (&sums)[Shape::kOctets][4],
                                        const float (&squares)[Shape::kGroups]) const {
    float* partials = reinterpret_cast<float*>(ring_);
    float* partial_squares = partials + Shape::kWarps * Shape::kPartials;
    const int quad = lane_ % 4;
    __syncthreads();  // the ring is read no more
#pragma unroll
    for (int r = 0; r < Shape::kGroups; ++r) {
      const int signal = 8 * r + lane_ / 4;
      float* own = partials + warp_ * Shape::kPartials + signal * Shape::kPartialRow + 2 * quad;
#pragma unroll
      for (int o = 0; o < Shape::kOctets; ++o) {
        own[8 * o] = sums[o][2 * r];
        own[8 * o + 1] = sums[o][2 * r + 1];
      }
      const float square = quad_sum(squares[r]);
      if (quad == 0) partial_squares[warp_ * Shape::kSignals + signal] = square;
    }
    __syncthreads();

    const int columns = static_cast<int>(end_ - begin_) / unit_;
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
      finish(p, signal, (begin_ + row) / unit_, sum * scale, gated_sum * scale);
    }
  }

 private:
  // Of a chunk, in W or in V.
  __device__ __forceinline__ int64_t first_column(int chunk) const {
    return int64_t{chunk >= w_chunks_ ? chunk - w_chunks_ : chunk} * Shape::kChunk;
  }

  // The lanes of a product read rows g and g + 1 at one time: half of the banks each.
  __device__ __forceinline__ uint4* slot(int stage, int row, int piece) const {
    return ring_ + stage * stage_pieces_ + row * Shape::kRowPieces + (piece ^ (row % 2 * 4));
  }

  __device__ __forceinline__ void fetch_row(int stage, int row, const T* anywhere, const T* source,
                                            int64_t first, int64_t columns) const {
#pragma unroll
    for (int i = 0; i < Shape::kRowPieces; i += kWarp) {
      const int64_t k = first + (i + lane_) * Shape::kPiece;
      fetch_piece<Shape::kVector>(slot(stage, row, i + lane_), k < columns ? source + k : anywhere,
                                  columns - k);
    }
  }

  const DecodeLinearOperands<T>& p;
  uint4* ring_;
  int stage_pieces_;
  int lane_;
  int warp_;
  int w_chunks_;

 public:
  const int chunks;

 private:
  int unit_;
  int64_t begin_;
  int64_t end_;
};

template <typename T, typename Shape>
__global__ void __launch_bounds__(Shape::kThreads)
    decode_linear_mma_kernel(const __grid_constant__ DecodeLinearOperands<T> p) {
  extern __shared__ uint4 ring[];
  const DecodeLinearBlock<T, Shape> block(p, ring);
  constexpr int kAhead = Shape::kStages - 1;

  // Weights do not depend on the previous kernel: their way here is hidden by its end.
  for (int chunk = 0; chunk < kAhead && chunk < block.chunks; ++chunk) {
    block.fetch_weights(chunk, chunk);
  }
  wait_for_previous_kernel();
  for (int chunk = 0; chunk < kAhead; ++chunk) {
    if (chunk < block.chunks) block.fetch_signals(chunk, chunk);
    commit_copies();
  }
  if (threadIdx.x == 0) start_next_kernel();

  float sums[Shape::kOctets][4] = {};
  float squares[Shape::kGroups] = {};
  int stage = 0;
#pragma unroll 1
  for (int chunk = 0; chunk < block.chunks; ++chunk) {
    wait_for_copies<kAhead - 1>();
    // The copies of this chunk have landed, and all warps are done with the one before it.
    __syncthreads();
    const int next = chunk + kAhead;
    if (next < block.chunks) {
      const int next_stage = stage == 0 ? kAhead : stage - 1;
      block.fetch_weights(next_stage, next);
      block.fetch_signals(next_stage, next);
    }
    commit_copies();  // an empty group past the end keeps the count of groups in step
    block.multiply(stage, chunk, sums, squares);
    stage = stage == kAhead ? 0 : stage + 1;
  }
  block.write(sums, squares);
}

}  // namespace slice::kernels::detail
