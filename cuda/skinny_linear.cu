#include "cuda/skinny_linear.h"

#include <algorithm>
#include <climits>

#include "cuda/detail/range.h"
#include "cuda/detail/skinny_linear_fma.cuh"
#include "cuda/detail/skinny_linear_mma.cuh"

// skinny_linear:   Y = epilogue(s(X)·X·Wᵀ + Z·Vᵀ + b) + d ⊙ R,   M ≤ 16
//   X (M, K), Z (M, K2), R, Y strided rows   W (N, K), V (N, K2) contiguous
// grid    one block a multiprocessor; each owns an equal share of the rows of W and V
// block   256 threads = 8 warps; each owns blocks of 64 columns in turn, of W and then of V
// shared  a queue of up to 96 KiB of accesses under way, and the sums of the warps
// numerics  products on the tensor cores, sums in float32; a warp's blocks in ascending k, then the
//         warps in their order: bitwise repeatable, whatever M, the alignment and the grid
// edges   any N, K, K2 ≥ 0; rows past N and columns past K are not read; unaligned: by elements
// work    2·M·N·(K + K2) flop; reads N·(K + K2) elements once, and M·(K + K2) once a pass of up to
//         32 rows of a block, from the L2
// float32, float64: a warp a column of Y, products and sums in the type

namespace slice::kernels {
namespace {

using detail::SkinnyOperands;
using detail::SkinnyShape;

constexpr int kVectorBytes = 16;

struct Device {
  int multiprocessors = 0;
  bool starts_early = false;
};

cudaError_t current_device(Device& device) {
  int id = 0;
  int major = 0;
  cudaError_t status = cudaGetDevice(&id);
  if (status == cudaSuccess) {
    status =
        cudaDeviceGetAttribute(&device.multiprocessors, cudaDevAttrMultiProcessorCount, id);
  }
  if (status == cudaSuccess) {
    status = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, id);
  }
  device.starts_early = major >= 9;
  return status;
}

template <typename Shape, typename T>
cudaError_t launch_mma(const SkinnyOperands<T>& p, bool early, cudaStream_t stream) {
  const auto kernel = detail::skinny_linear_mma_kernel<T, Shape>;
  const int shared_bytes = Shape::shared_bytes(p.M);
  const cudaError_t status =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes);
  if (status != cudaSuccess) return status;
  const int64_t columns = p.N / p.rows_per_column();
  const int64_t blocks = detail::ceil_div(columns, Shape::kRows / p.rows_per_column());
  return detail::launch_dependent(
      kernel,
      {static_cast<unsigned>(blocks), Shape::kThreads, static_cast<size_t>(shared_bytes)}, early,
      stream, p);
}

template <int kOctets, int kGroups, int kChunk, int kStages, typename T>
cudaError_t launch_vectors(const SkinnyOperands<T>& p, bool early, cudaStream_t stream) {
  return launch_mma<SkinnyShape<kOctets, kGroups, kChunk, kStages, true>>(p, early, stream);
}

// By measurement (docs/performance.md): one block a multiprocessor with as long a queue as it
// holds, while that covers N; else several small ones, whose ends and beginnings overlap.
template <typename T>
cudaError_t launch_few(const SkinnyOperands<T>& p, int64_t octets, bool early,
                       cudaStream_t stream) {
  switch (octets) {
    case 1:
      return launch_vectors<1, 1, 1024, 4>(p, early, stream);
    case 2:
      return launch_vectors<2, 1, 1024, 4>(p, early, stream);
    case 3:
      return p.M <= 4 ? launch_vectors<3, 1, 1024, 4>(p, early, stream)
                      : launch_vectors<3, 1, 1024, 3>(p, early, stream);
    case 4:
      return launch_vectors<4, 1, 512, 5>(p, early, stream);
    case 5:
      return launch_vectors<5, 1, 512, 4>(p, early, stream);
    case 6:
      return launch_vectors<6, 1, 512, 4>(p, early, stream);
    default:
      return launch_vectors<2, 1, 512, 3>(p, early, stream);
  }
}

// X's rows are read once a block, so that the blocks are as tall as they can be.
template <typename T>
cudaError_t launch_many(const SkinnyOperands<T>& p, int64_t octets, bool early,
                        cudaStream_t stream) {
  switch (octets) {
    case 1:
      return launch_vectors<1, 2, 512, 3>(p, early, stream);
    case 2:
      return launch_vectors<2, 2, 512, 3>(p, early, stream);
    case 3:
      return launch_vectors<3, 2, 512, 3>(p, early, stream);
    case 4:
      return launch_vectors<4, 2, 512, 3>(p, early, stream);
    default:
      return launch_vectors<6, 2, 512, 3>(p, early, stream);
  }
}

template <typename T>
cudaError_t launch(const SkinnyOperands<T>& p, bool vectors, bool prefetch, cudaStream_t stream) {
  Device device;
  const cudaError_t status = current_device(device);
  if (status != cudaSuccess) return status;
  const bool early = prefetch && device.starts_early;
  if constexpr (sizeof(T) == 2) {
    const bool one_group = p.M <= 8;
    if (!vectors) {
      return one_group ? launch_mma<SkinnyShape<1, 1, 512, 3, false>>(p, early, stream)
                       : launch_mma<SkinnyShape<1, 2, 512, 3, false>>(p, early, stream);
    }
    const int64_t octets =
        detail::ceil_div(p.N, 8 * static_cast<int64_t>(device.multiprocessors));
    return one_group ? launch_few(p, octets, early, stream)
                     : launch_many(p, octets, early, stream);
  } else {
    const int64_t blocks =
        detail::ceil_div(p.N / p.rows_per_column(), detail::kSkinnyFmaWarps);
    return detail::launch_dependent(
        detail::skinny_linear_fma_kernel<T>,
        {static_cast<unsigned>(blocks), detail::kSkinnyFmaWarps * 32, 0}, early, stream, p);
  }
}

int64_t columns_of(const SkinnyLinear& layer) {
  return layer.epilogue == Epilogue::kGatedSilu ? layer.N / 2 : layer.N;
}

bool sizes_are_good(const SkinnyLinear& l) {
  const bool gated = l.epilogue == Epilogue::kGatedSilu;
  return l.M >= 0 && l.M <= kSkinnyRows && l.N >= 0 && l.N <= INT_MAX && l.K >= 0 &&
         l.K <= INT_MAX && l.K2 >= 0 && l.K2 <= INT_MAX && !(gated && l.N % 2 != 0) &&
         l.residual_columns >= 0 && l.residual_columns <= columns_of(l) && l.norm_hidden >= 0 &&
         !(l.norm_hidden > 0 && l.K2 > 0) && !(l.norm_weight != nullptr && l.norm_hidden == 0) &&
         (l.M <= 1 || (l.x_row_stride >= l.K && l.y_row_stride >= columns_of(l) &&
                       l.z_row_stride >= l.K2 && l.r_row_stride >= l.residual_columns));
}

bool pointers_are_good(const SkinnyLinear& l) {
  const int64_t size = size_of(l.type);
  const auto good = [size](const void* pointer, bool needed) {
    return (pointer != nullptr || !needed) && detail::is_aligned(pointer, size);
  };
  return good(l.Y, true) && good(l.X, l.K > 0) && good(l.W, l.K > 0) && good(l.Z, l.K2 > 0) &&
         good(l.V, l.K2 > 0) && good(l.R, l.residual_columns > 0) && good(l.bias, false) &&
         good(l.diagonal, false) && good(l.norm_weight, false);
}

// Other blocks read an operand while one writes Y; only R's elements are read by their writer.
bool overlaps_are_good(const SkinnyLinear& l) {
  const int64_t size = size_of(l.type);
  const int64_t y_bytes = detail::strided_extent(l.M, columns_of(l), l.y_row_stride) * size;
  const auto apart = [&](const void* pointer, int64_t elements) {
    return pointer == nullptr || detail::are_disjoint(l.Y, y_bytes, pointer, elements * size);
  };
  const bool in_place = l.Y == l.R && (l.y_row_stride == l.r_row_stride || l.M == 1);
  return apart(l.X, detail::strided_extent(l.M, l.K, l.x_row_stride)) && apart(l.W, l.N * l.K) &&
         apart(l.Z, detail::strided_extent(l.M, l.K2, l.z_row_stride)) &&
         apart(l.V, l.N * l.K2) && apart(l.bias, l.N) &&
         apart(l.diagonal, l.residual_columns) && apart(l.norm_weight, l.K) &&
         (in_place || apart(l.R, detail::strided_extent(l.M, l.residual_columns, l.r_row_stride)));
}

// Whether all rows of X, W, Z and V, and the norm's weight, start at a multiple of 16 bytes and end
// there.
bool takes_vectors(const SkinnyLinear& l) {
  const int64_t pack = kVectorBytes / size_of(l.type);
  const auto rows = [&](const void* pointer, int64_t columns, int64_t stride) {
    return columns == 0 || (detail::is_aligned(pointer, kVectorBytes) && columns % pack == 0 &&
                            (l.M <= 1 || stride % pack == 0));
  };
  return rows(l.X, l.K, l.x_row_stride) && rows(l.W, l.K, l.K) &&
         rows(l.Z, l.K2, l.z_row_stride) && rows(l.V, l.K2, l.K2) &&
         detail::is_aligned(l.norm_weight, kVectorBytes);
}

}  // namespace

cudaError_t skinny_linear(const SkinnyLinear& l, cudaStream_t stream) {
  if (!sizes_are_good(l)) return cudaErrorInvalidValue;
  if (l.M == 0 || l.N == 0) return cudaSuccess;
  if (!pointers_are_good(l) || !overlaps_are_good(l)) return cudaErrorInvalidValue;
  return detail::dispatch(l.type, [&](auto tag) {
    using T = typename decltype(tag)::Type;
    const auto in = [](const void* pointer) { return static_cast<const T*>(pointer); };
    const SkinnyOperands<T> operands{static_cast<T*>(l.Y),
                                     in(l.X),
                                     in(l.W),
                                     in(l.Z),
                                     in(l.V),
                                     in(l.bias),
                                     in(l.R),
                                     in(l.diagonal),
                                     in(l.norm_weight),
                                     static_cast<detail::Accumulator<T>>(l.norm_hidden),
                                     static_cast<detail::Accumulator<T>>(l.eps),
                                     l.epilogue,
                                     static_cast<int>(l.M),
                                     l.N,
                                     l.K,
                                     l.K2,
                                     l.residual_columns,
                                     l.x_row_stride,
                                     l.y_row_stride,
                                     l.z_row_stride,
                                     l.r_row_stride};
    return launch(operands, takes_vectors(l), l.prefetch, stream);
  });
}

}  // namespace slice::kernels
