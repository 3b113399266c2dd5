#include "cuda/detail/decode_linear_wgmma.h"

#include <type_traits>

#include "cuda/detail/decode_linear_wgmma.cuh"
#include "cuda/detail/tensor_map.h"

// decode_linear by warpgroups:   Y = scale · epilogue(s(X)·X·Wᵀ + Z·Vᵀ + b) + d ⊙ R,   M ≤ 32
// grid    clusters of 1 … 8 blocks; a cluster has 64, 192 or 256 rows of W and V, a block a share of
//         their columns: one block a multiprocessor, of 64 rows three
// block   a warpgroup for 64 rows, and a warp that copies
// shared  a ring of 6 or 7 chunks of 64 columns of W's and X's rows; at the end the block's sums
// numerics  products on the tensor cores, sums in float32, a block's columns in ascending order,
//         then the blocks in theirs: bitwise repeatable; the same for any M ≤ 8, any to 16, any to 32
// edges   any N, M; K and K2 multiples of 8: rows and columns past the end are zeros
// work    2·M·N·(K + K2) flop; reads N·(K + K2) elements once, and M·(K + K2) once a cluster

namespace slice::kernels::detail {
namespace {

constexpr int kSmallRows = 64, kLargeRows = 192, kLargestRows = 256;  // of W a cluster

template <typename T>
constexpr DataType type_of() {
  return std::is_same_v<T, __half> ? DataType::kFloat16 : DataType::kBFloat16;
}

// The largest cluster with which no more than `most` blocks have `tiles` tiles.
int cluster_for(int64_t tiles, int64_t chunks, int64_t most) {
  int cluster = 1;
  while (cluster < 8 && cluster * 2 <= chunks && tiles * cluster * 2 <= most) cluster *= 2;
  return cluster;
}

template <typename Shape, typename T>
cudaError_t maps_of(DecodeLinearMaps& maps, const DecodeLinearOperands<T>& p) {
  const auto signals = [&p](CUtensorMap& map, const T* X, int64_t K, int64_t stride) {
    return map_tensor(map, X, type_of<T>(), p.M, K, p.M > 1 ? stride : K, Shape::kSignals);
  };
  cudaError_t status = map_tensor(maps.W, p.W, type_of<T>(), p.N, p.K, p.K, Shape::kRows);
  if (status == cudaSuccess) status = signals(maps.X, p.X, p.K, p.x_row_stride);
  if (status != cudaSuccess || p.K2 == 0) return status;
  status = map_tensor(maps.V, p.V, type_of<T>(), p.N, p.K2, p.K2, Shape::kRows);
  if (status == cudaSuccess) status = signals(maps.Z, p.Z, p.K2, p.z_row_stride);
  return status;
}

WarpgroupGrid grid_of(int64_t N, int64_t chunks, int rows, int64_t most) {
  const int64_t tiles = ceil_div(N, rows);
  const int cluster = cluster_for(tiles, chunks, most);
  return {rows, cluster, static_cast<int>(chunks), static_cast<int>(tiles * cluster)};
}

/// Whether all blocks run at one time, on at least so much of the device.
bool fits(const WarpgroupGrid& grid, int multiprocessors, double share) {
  return grid.blocks <= multiprocessors && grid.blocks >= share * multiprocessors;
}

constexpr double kFull = 0.85, kEnough = 0.6;  // of the multiprocessors, by measurement

/// How a product runs, by its sizes: three warpgroups, or four, which share the signals, with a ring
/// as long as shared memory; where they fill too little, one, three blocks a multiprocessor.
WarpgroupGrid best_grid(int64_t N, int64_t chunks, int multiprocessors) {
  const WarpgroupGrid large = grid_of(N, chunks, kLargeRows, multiprocessors);
  const WarpgroupGrid largest = grid_of(N, chunks, kLargestRows, multiprocessors);
  if (fits(large, multiprocessors, kFull)) return large;
  if (fits(largest, multiprocessors, kFull) && largest.cluster <= 2) return largest;
  if (fits(large, multiprocessors, kEnough)) return large;
  if (fits(largest, multiprocessors, kEnough)) return largest;
  return grid_of(N, chunks, kSmallRows, 2 * multiprocessors);
}

template <typename T>
int64_t chunks_of(const DecodeLinearOperands<T>& p) {
  return ceil_div(p.K, kSwizzleColumns) + ceil_div(p.K2, kSwizzleColumns);
}

template <typename Shape, typename T>
cudaError_t launch_shape(const DecodeLinearOperands<T>& p, const WarpgroupGrid& grid, bool early,
                         cudaStream_t stream) {
  DecodeLinearMaps maps = {};
  cudaError_t status = maps_of<Shape>(maps, p);
  const auto kernel = decode_linear_wgmma_kernel<T, Shape>;
  if (status == cudaSuccess) {
    status = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  Shape::kSharedBytes);
  }
  if (status != cudaSuccess) return status;
  const LaunchShape shape{static_cast<unsigned>(grid.blocks), Shape::kThreads, Shape::kSharedBytes,
                          static_cast<unsigned>(grid.cluster)};
  return launch_dependent(kernel, shape, early, stream, p, maps, grid);
}

template <int kSignals, typename T>
cudaError_t launch_signals(const DecodeLinearOperands<T>& p, int multiprocessors, bool early,
                           cudaStream_t stream) {
  const WarpgroupGrid grid = best_grid(p.N, chunks_of(p), multiprocessors);
  switch (grid.rows) {
    case kSmallRows:
      return launch_shape<WarpgroupShape<kSmallRows / 64, kSignals, 6>>(p, grid, early, stream);
    case kLargeRows:
      return launch_shape<WarpgroupShape<kLargeRows / 64, kSignals, 7>>(p, grid, early, stream);
    default:
      return launch_shape<WarpgroupShape<kLargestRows / 64, kSignals, 6>>(p, grid, early, stream);
  }
}

}  // namespace

template <typename T>
bool fills_with_warpgroups(const DecodeLinearOperands<T>& p, int multiprocessors) {
  return fits(grid_of(p.N, chunks_of(p), kLargeRows, multiprocessors), multiprocessors, kFull);
}

template <typename T>
cudaError_t launch_wgmma(const DecodeLinearOperands<T>& p, int multiprocessors, bool early,
                         cudaStream_t stream) {
  if (p.M <= 8) return launch_signals<8>(p, multiprocessors, early, stream);
  if (p.M <= 16) return launch_signals<16>(p, multiprocessors, early, stream);
  return launch_signals<32>(p, multiprocessors, early, stream);
}

template bool fills_with_warpgroups(const DecodeLinearOperands<__half>&, int);
template bool fills_with_warpgroups(const DecodeLinearOperands<__nv_bfloat16>&, int);
template cudaError_t launch_wgmma(const DecodeLinearOperands<__half>&, int, bool, cudaStream_t);
template cudaError_t launch_wgmma(const DecodeLinearOperands<__nv_bfloat16>&, int, bool,
                                  cudaStream_t);

}  // namespace slice::kernels::detail
