#include "cuda/rotated_add.h"

#include <climits>

#include "cuda/detail/range.h"
#include "cuda/detail/rotated_add_fma.cuh"
#include "cuda/detail/rotated_add_mma.cuh"

// rotated_add:   Y = X·Wᵀ + R
//   X (n, d_in) strided rows   W (d_out, d_in)   R, Y (n, d_out)     row-major
// grid    ⌈n/tile⌉ · ⌈d_out/tile⌉ blocks in one dimension; one block owns one tile of Y; eight
//         rows of tiles go through all columns together, so that X and W are re-read from the L2
// block   256 threads = 8 warps
// shared  half types: 3 stages × 2 tiles of (64 or 128) × 40 elements (30 or 60 KiB)
//         float32, float64: 2 stages × 2 tiles of 16 × 68 elements
// numerics  products and sums in float32 (float64), R added in it, one rounding to T; k ascending,
//         bitwise repeatable and the same for every tile and alignment
// edges   any n, d_in, d_out ≥ 0 (ragged tiles masked); Y may be R, never overlaps X or W
// work    2·n·d_in·d_out flop; reads n·d_in + d_in·d_out + n·d_out, writes n·d_out elements

namespace slice::kernels {
namespace {

using detail::ceil_div;
using detail::RotatedAdd;

// Blocks that cover Y, or 0 if a grid cannot hold them.
template <typename T>
unsigned tile_count(const RotatedAdd<T>& p, int64_t tile_m, int64_t tile_n) {
  const int64_t tiles_m = ceil_div(p.n, tile_m);
  const int64_t tiles_n = ceil_div(p.d_out, tile_n);
  return tiles_m > INT_MAX / tiles_n ? 0u : static_cast<unsigned>(tiles_m * tiles_n);
}

template <typename Shape, bool kVector, typename T>
cudaError_t launch_mma(const RotatedAdd<T>& p, cudaStream_t stream) {
  const unsigned blocks = tile_count(p, Shape::kTileM, Shape::kTileN);
  if (blocks == 0) return cudaErrorInvalidValue;
  const auto kernel = detail::rotated_add_mma_kernel<T, Shape, kVector>;
  const cudaError_t status = cudaFuncSetAttribute(
      kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, Shape::kSharedBytes);
  if (status != cudaSuccess) return status;
  kernel<<<blocks, detail::kTileThreads, Shape::kSharedBytes, stream>>>(p);
  return cudaPeekAtLastError();
}

template <bool kVector, typename T>
cudaError_t launch(const RotatedAdd<T>& p, cudaStream_t stream) {
  if constexpr (sizeof(T) == 2) {
    // The large tile reads shared memory half as often, but needs enough tiles to occupy a card.
    constexpr unsigned kEnoughTiles = 100;
    return tile_count(p, detail::LargeMma::kTileM, detail::LargeMma::kTileN) >= kEnoughTiles
               ? launch_mma<detail::LargeMma, kVector>(p, stream)
               : launch_mma<detail::SmallMma, kVector>(p, stream);
  } else {
    const unsigned blocks = tile_count(p, detail::FmaShape::kTile, detail::FmaShape::kTile);
    if (blocks == 0) return cudaErrorInvalidValue;
    detail::rotated_add_fma_kernel<T, kVector><<<blocks, detail::kTileThreads, 0, stream>>>(p);
    return cudaPeekAtLastError();
  }
}

}  // namespace

cudaError_t rotated_add(void* Y, const void* X, const void* W, const void* R, DataType type,
                        int64_t n, int64_t d_in, int64_t d_out, int64_t x_row_stride,
                        cudaStream_t stream) {
  if (n < 0 || d_in < 0 || d_out < 0 || x_row_stride < d_in) return cudaErrorInvalidValue;
  if (n == 0 || d_out == 0) return cudaSuccess;

  const int64_t size = size_of(type);
  const int64_t y_bytes = n * d_out * size;
  const auto element_aligned = [size](const void* pointer) {
    return detail::is_aligned(pointer, size);
  };
  const auto vector_aligned = [](const void* pointer) {
    return detail::is_aligned(pointer, detail::kVectorBytes);
  };
  if (Y == nullptr || R == nullptr || (d_in > 0 && (X == nullptr || W == nullptr)) ||
      !element_aligned(Y) || !element_aligned(X) || !element_aligned(W) || !element_aligned(R) ||
      !(Y == R || detail::are_disjoint(Y, y_bytes, R, y_bytes)) ||
      !detail::are_disjoint(Y, y_bytes, X, detail::strided_extent(n, d_in, x_row_stride) * size) ||
      !detail::are_disjoint(Y, y_bytes, W, d_in * d_out * size)) {
    return cudaErrorInvalidValue;
  }

  // Four elements of float32 and float64, eight of the half types.
  const int64_t pack = size == 2 ? 8 : detail::FmaShape::kOwn;
  const bool vectors = vector_aligned(X) && vector_aligned(W) && d_in % pack == 0 &&
                       x_row_stride * size % detail::kVectorBytes == 0;
  const bool vector_rows = vector_aligned(Y) && vector_aligned(R) && d_out % pack == 0;
  return detail::dispatch(type, [&](auto tag) {
    using T = typename decltype(tag)::Type;
    const RotatedAdd<T> operands{static_cast<T*>(Y),
                                 static_cast<const T*>(X),
                                 static_cast<const T*>(W),
                                 static_cast<const T*>(R),
                                 n,
                                 d_in,
                                 d_out,
                                 x_row_stride,
                                 vector_rows};
    return vectors ? launch<true>(operands, stream) : launch<false>(operands, stream);
  });
}

}  // namespace slice::kernels
