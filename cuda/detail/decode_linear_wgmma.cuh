#pragma once

#include "cuda/detail/bulk_copy.cuh"
#include "cuda/detail/cluster.cuh"
#include "cuda/detail/decode_linear.cuh"
#include "cuda/detail/decode_linear_shape.cuh"
#include "cuda/detail/dependent_launch.cuh"
#include "cuda/detail/warp.cuh"
#include "cuda/detail/wgmma.cuh"

// decode_linear for float16 and bfloat16 on compute capability 9.0: a cluster of blocks has some
// rows of W, each of its blocks a share of their columns. One warp keeps a ring of bulk copies
// full, the others multiply; then every block adds up a share of the cluster's rows.

namespace slice::kernels::detail {

// A block's chunks of columns: first W's, then V's.
template <typename T, typename Shape>
class WarpgroupBlock {
 public:
  __device__ __forceinline__ WarpgroupBlock(const DecodeLinearOperands<T>& operands,
                                            const DecodeLinearMaps& maps, const WarpgroupGrid& grid,
                                            uint8_t* shared, uint64_t* barriers)
      : p(operands),
        maps_(maps),
        cluster_(grid.cluster),
        rank_(static_cast<int>(blockIdx.x) % grid.cluster),
        first_row_(static_cast<int>(blockIdx.x) / grid.cluster * grid.rows),
        full_(barriers),
        empty_(barriers + Shape::kStages),
        w_chunks_(static_cast<int>(ceil_div(operands.K, Shape::kChunk))) {
    const uint32_t past = shared_address(shared) % Shape::kAlignment;
    ring_ = shared + (past == 0 ? 0 : Shape::kAlignment - past);
    begin_ = grid.chunks * rank_ / grid.cluster;
    count_ = grid.chunks * (rank_ + 1) / grid.cluster - begin_;
  }

  // By one thread, before any other comes here.
  __device__ __forceinline__ void prepare() const {
    for (int s = 0; s < Shape::kStages; ++s) {
      barrier_init(full_ + s, 1);
      barrier_init(empty_ + s, Shape::kMultipliers / kWarp);
    }
    barriers_are_ready();
  }

  // By one thread: every chunk on its way as soon as a stage is free.
  __device__ __forceinline__ void copy() const {
    const int ahead = count_ < Shape::kStages ? count_ : Shape::kStages;
    // Weights do not depend on the previous kernel: their way here is hidden by its end.
    for (int i = 0; i < ahead; ++i) copy_weights(i, i);
    wait_for_previous_kernel();
    for (int i = 0; i < ahead; ++i) copy_signals(i, i);
    start_next_kernel();
    for (int i = ahead; i < count_; ++i) {
      const int stage = i % Shape::kStages;
      barrier_wait(empty_ + stage, (i / Shape::kStages - 1) % 2);
      copy_weights(stage, i);
      copy_signals(stage, i);
    }
  }

  // By a warpgroup: sums (64, kSignals) += its rows of W · Xᵀ; squares += those of X.
  __device__ __forceinline__ void multiply(float (&sums)[Shape::kSignals / 2],
                                           float (&squares)[Shape::kPieces]) const {
    const int group = static_cast<int>(threadIdx.x) / 128;
#pragma unroll 1
    for (int i = 0; i < count_; ++i) {
      const int stage = i % Shape::kStages;
      barrier_wait(full_ + stage, i / Shape::kStages % 2);
      if (p.norm_hidden > 0) look_at_signals(stage, i, squares);
      uint64_t weights = swizzled_rows(shared_address(weights_of(stage)) + group * 64 * 128);
      uint64_t signals = swizzled_rows(shared_address(signals_of(stage)));
      products_begin();
#pragma unroll
      for (int k = 0; k < Shape::kChunk; k += 16) {
        WarpgroupProduct<T>::add(sums, weights, signals);
        weights = next_columns(weights);
        signals = next_columns(signals);
      }
      products_commit();
      if (i == 0) continue;
      products_wait<1>();  // those of the chunk before: the next one is looked at meanwhile
      __syncwarp();
      if (lane_of_thread() == 0) barrier_arrive(empty_ + (i - 1) % Shape::kStages);
    }
    products_wait<0>();
  }

  // By all warpgroups, once the ring is read no more: the block's sums to where the cluster reads
  // them, signal by signal.
  __device__ __forceinline__ void share(const float (&sums)[Shape::kSignals / 2],
                                        const float (&squares)[Shape::kPieces]) const {
    float* partials = reinterpret_cast<float*>(ring_);
    const int lane = lane_of_thread(), row = warp_of_thread() * 16 + lane / 4;
    multipliers_barrier();
#pragma unroll
    for (int j = 0; j < Shape::kSignals / 8; ++j) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int signal = 8 * j + 2 * (lane % 4) + i % 2;
        partials[signal * Shape::kPartialRow + row + i / 2 * 8] = sums[4 * j + i];
      }
    }
#pragma unroll
    for (int i = 0; i < Shape::kPieces; ++i) {
      const float square = team_sum<8>(squares[i]);  // eight threads have a row's pieces
      const int piece = static_cast<int>(threadIdx.x) + i * Shape::kMultipliers;
      if (piece % 8 == 0 && piece < 8 * Shape::kSignals) {
        partials[Shape::kSignals * Shape::kPartialRow + piece / 8] = square;
      }
    }
  }

  // By all warpgroups, after the cluster has shared: adds its blocks' sums, in their order, and
  // writes the block's columns of Y. A thread has four rows of W at a time.
  __device__ __forceinline__ void write() const {
    const int quads = Shape::kRows / 4, begin = quads * rank_ / cluster_;
    const int count = quads * (rank_ + 1) / cluster_ - begin;
    const uint32_t partials = shared_address(ring_);
    for (int i = static_cast<int>(threadIdx.x); i < count * p.M; i += Shape::kMultipliers) {
      const int signal = i / count, row = (begin + i % count) * 4;
      if (first_row_ + row >= p.N) continue;
      const uint32_t own = partials + (signal * Shape::kPartialRow + row) * 4;
      const uint32_t own_square = partials + (Shape::kSignals * Shape::kPartialRow + signal) * 4;
      float sums[4] = {}, square = 0;
      for (int rank = 0; rank < cluster_; ++rank) {
        const float4 more = load_4_of_block(own, rank);
        if (p.norm_hidden > 0) square += load_of_block(own_square, rank);
        sums[0] += more.x;
        sums[1] += more.y;
        sums[2] += more.z;
        sums[3] += more.w;
      }
      const float scale = p.norm_hidden > 0 ? norm_scale(p, square) : 1.0f;
#pragma unroll
      for (float& sum : sums) sum *= scale;
      write_columns(signal, first_row_ + row, sums);
    }
  }

 private:
  __device__ __forceinline__ uint8_t* weights_of(int stage) const {
    return ring_ + stage * Shape::kStageBytes;
  }
  __device__ __forceinline__ uint8_t* signals_of(int stage) const {
    return weights_of(stage) + Shape::kWeightBytes;
  }
  __device__ __forceinline__ uint8_t* norm_of(int stage) const {
    return ring_ + Shape::kStages * Shape::kStageBytes + stage * 128;
  }

  // What four rows of W, from `row` on, give: all of R is read before any of Y is written.
  __device__ __forceinline__ void write_columns(int signal, int row, const float (&sums)[4]) const {
    T* target = p.Y + signal * p.y_row_stride;
    T y[4];
    if (p.gated) {
      const int column = row / 2;
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        if (row + 2 * i < p.N) y[i] = finished(p, signal, column + i, sums[2 * i], sums[2 * i + 1]);
      }
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        if (row + 2 * i < p.N) target[column + i] = y[i];
      }
    } else {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        if (row + i < p.N) y[i] = finished(p, signal, row + i, sums[i], 0.0f);
      }
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        if (row + i < p.N) target[row + i] = y[i];
      }
    }
  }

  __device__ __forceinline__ static void multipliers_barrier() {
    asm volatile("bar.sync 1, %0;" ::"n"(Shape::kMultipliers) : "memory");
  }

  // Whether the block's chunk i is of V and Z, and its first column there.
  struct Columns {
    bool second;
    int first;
  };
  __device__ __forceinline__ Columns columns_of(int i) const {
    const int chunk = begin_ + i;
    const bool second = chunk >= w_chunks_;
    return {second, (second ? chunk - w_chunks_ : chunk) * Shape::kChunk};
  }

  __device__ __forceinline__ void copy_weights(int stage, int i) const {
    const auto [second, column] = columns_of(i);
    const bool weighted = p.norm_weight != nullptr && !second;
    const int norm_bytes =
        weighted ? 2 * static_cast<int>(min(p.K - column, int64_t{Shape::kChunk})) : 0;
    barrier_expect(full_ + stage, Shape::kStageBytes + norm_bytes);
    copy_box(shared_address(weights_of(stage)), second ? &maps_.V : &maps_.W, column, first_row_,
             full_ + stage, Keep::kShort);
    if (weighted) {
      copy_bytes(shared_address(norm_of(stage)), p.norm_weight + column, norm_bytes, full_ + stage);
    }
  }

  __device__ __forceinline__ void copy_signals(int stage, int i) const {
    const auto [second, column] = columns_of(i);
    copy_box(shared_address(signals_of(stage)), second ? &maps_.Z : &maps_.X, column, 0,
             full_ + stage, Keep::kLong);
  }

  // Adds the squares of the thread's pieces of X, and multiplies them by the weight of the norm.
  __device__ __forceinline__ void look_at_signals(int stage, int i,
                                                  float (&squares)[Shape::kPieces]) const {
    const int64_t column = int64_t{begin_ + i} * Shape::kChunk;
    uint4* pieces = reinterpret_cast<uint4*>(signals_of(stage));
    const uint4* weights = reinterpret_cast<const uint4*>(norm_of(stage));
#pragma unroll
    for (int j = 0; j < Shape::kPieces; ++j) {
      const int piece = static_cast<int>(threadIdx.x) + j * Shape::kMultipliers;
      if (piece >= 8 * Shape::kSignals) break;
      const uint4 x = pieces[piece];
      squares[j] += sum_of_squares<T>(x);
      const int place = piece % 8 ^ piece / 8 % 8;  // of the piece in its row
      if (p.norm_weight != nullptr && column + 8 * place < p.K) {
        pieces[piece] = weighted<T>(x, weights[place]);
      }
    }
    if (p.norm_weight != nullptr) {
      writes_are_for_products();
      multipliers_barrier();
    }
  }

  const DecodeLinearOperands<T>& p;
  const DecodeLinearMaps& maps_;
  int cluster_;
  int rank_;
  int first_row_;
  uint64_t* full_;
  uint64_t* empty_;
  int w_chunks_;
  uint8_t* ring_;
  int begin_;
  int count_;
};

template <typename T, typename Shape>
__global__ void __launch_bounds__(Shape::kThreads)
    decode_linear_wgmma_kernel(const __grid_constant__ DecodeLinearOperands<T> p,
                               const __grid_constant__ DecodeLinearMaps maps,
                               const __grid_constant__ WarpgroupGrid grid) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  extern __shared__ uint8_t shared[];
  __shared__ uint64_t barriers[2 * Shape::kStages];
  const WarpgroupBlock<T, Shape> block(p, maps, grid, shared, barriers);
  if (threadIdx.x == 0) block.prepare();
  __syncthreads();
  const bool multiplies = threadIdx.x < Shape::kMultipliers;
  if (multiplies) {
    float sums[Shape::kSignals / 2] = {};
    float squares[Shape::kPieces] = {};
    wait_for_previous_kernel();  // for R, and for who still reads Y
    block.multiply(sums, squares);
    block.share(sums, squares);
  } else if (threadIdx.x == Shape::kMultipliers) {
    block.copy();
  }
  __syncwarp();
  cluster_barrier();  // of all warps at one place: without a cluster it is the block's
  if (multiplies) block.write();
  __syncwarp();
  cluster_barrier();  // what others read stays until they have
#endif
}

}  // namespace slice::kernels::detail
