#include "cuda/decode_linear.h"

#include <climits>
#include <type_traits>

#include "cuda/detail/capability.h"
#include "cuda/detail/decode_linear_fma.cuh"
#include "cuda/detail/decode_linear_mma.cuh"
#include "cuda/detail/decode_linear_wgmma.h"
#include "cuda/detail/range.h"

// decode_linear:   Y = scale · epilogue(s(X)·X·Wᵀ + Z·Vᵀ + b) + d ⊙ R,   M ≤ 32
//   X (M, K), Z (M, K2), R, Y strided rows   W (N, K), V (N, K2) contiguous
// On compute capability 9.0 by decode_linear_wgmma.cu where M > 8 or its blocks fill the device; else,
// up to 16 rows at a time:
// grid    a block for 8 … 48 rows of W and V: about one a multiprocessor while that covers N
// block   8 warps, 4 where N is large; a chunk of 512 or 1024 columns of its rows at a time, of
//         which each warp multiplies the 128 it owns of every 1024 (of 4 warps: of every 512)
// shared  3 … 5 chunks of W's and X's rows, all under way but one; at the end the warps' sums
// numerics  products on the tensor cores, sums in float32; a warp's chunks in ascending k, then the
//         warps in their order: bitwise repeatable, the same for any M, alignment and grid
// edges   any N, K, K2 ≥ 0; rows past N and columns past K are not read; unaligned: by elements
// work    2·M·N·(K + K2) flop; reads N·(K + K2) elements once, and M·(K + K2) once a block, from
//         the L2: past M = 8 that is what bounds it
// float32, float64: a warp a column of Y, products and sums in the type

namespace slice::kernels {
namespace {

using detail::DecodeLinearOperands;
using detail::DecodeLinearShape;
using detail::kVectorBytes;

constexpr int kMmaRows = 16;   // that two groups of X's rows hold
constexpr int kFewOctets = 6;  // rows of W, a multiprocessor, that one block's shared memory holds

// How a layer runs here: on what, and whether it may start early.
struct Place {
  detail::Capability device;
  bool early;
  cudaStream_t stream;
};

template <typename Shape, typename T>
cudaError_t launch_mma(const DecodeLinearOperands<T>& p, const Place& place) {
  using Small = DecodeLinearShape<Shape::kWarps, 1, Shape::kGroups, 512, 3, Shape::kVector>;
  const int shared_bytes = Shape::shared_bytes(p.signals());
  if constexpr (!std::is_same_v<Shape, Small>) {  // fits everywhere, with the same bits
    if (shared_bytes > place.device.shared_bytes) return launch_mma<Small>(p, place);
  }
  const auto kernel = detail::decode_linear_mma_kernel<T, Shape>;
  const cudaError_t status =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes);
  if (status != cudaSuccess) return status;
  const int64_t blocks =
      detail::ceil_div(p.N / p.rows_per_column(), Shape::kRows / p.rows_per_column());
  return detail::launch_dependent(
      kernel, {static_cast<unsigned>(blocks), Shape::kThreads, static_cast<size_t>(shared_bytes)},
      place.early, place.stream, p);
}

// Chosen by measurement (docs/performance.md): one block a multiprocessor with as long a queue as
// it holds, while that covers N; else several small ones, whose ends and beginnings overlap.
template <typename T>
cudaError_t launch_few(const DecodeLinearOperands<T>& p, int64_t octets, const Place& place) {
  switch (octets) {
    case 1:
      return launch_mma<DecodeLinearShape<8, 1, 1, 1024, 4, true>>(p, place);
    case 2:
      return launch_mma<DecodeLinearShape<8, 2, 1, 1024, 4, true>>(p, place);
    case 3:
      return p.signals() <= 4 ? launch_mma<DecodeLinearShape<8, 3, 1, 1024, 4, true>>(p, place)
                              : launch_mma<DecodeLinearShape<8, 3, 1, 1024, 3, true>>(p, place);
    case 4:
      return p.signals() <= 4 ? launch_mma<DecodeLinearShape<8, 4, 1, 1024, 3, true>>(p, place)
                              : launch_mma<DecodeLinearShape<8, 4, 1, 512, 5, true>>(p, place);
    case 5:
      return p.signals() <= 4 ? launch_mma<DecodeLinearShape<8, 5, 1, 512, 5, true>>(p, place)
                              : launch_mma<DecodeLinearShape<8, 5, 1, 512, 4, true>>(p, place);
    case 6:
      return p.signals() <= 8 ? launch_mma<DecodeLinearShape<8, 6, 1, 512, 4, true>>(p, place)
                              : launch_mma<DecodeLinearShape<8, 6, 1, 512, 3, true>>(p, place);
    default:  // three blocks of 24 rows fill a multiprocessor, or four of 16 and another signal
      return p.signals() == 1 ? launch_mma<DecodeLinearShape<4, 3, 1, 512, 3, true>>(p, place)
                              : launch_mma<DecodeLinearShape<4, 2, 1, 512, 3, true>>(p, place);
  }
}

// Every block reads all of X, so that few tall ones are best.
template <typename T>
cudaError_t launch_many(const DecodeLinearOperands<T>& p, int64_t octets, const Place& place) {
  switch (octets) {
    case 1:
      return launch_mma<DecodeLinearShape<8, 1, 2, 512, 3, true>>(p, place);
    case 2:
      return launch_mma<DecodeLinearShape<8, 2, 2, 512, 3, true>>(p, place);
    case 3:
      return launch_mma<DecodeLinearShape<8, 3, 2, 512, 3, true>>(p, place);
    case 4:
      return launch_mma<DecodeLinearShape<8, 4, 2, 512, 3, true>>(p, place);
    case 5:
    case 6:
      return launch_mma<DecodeLinearShape<8, 6, 2, 512, 3, true>>(p, place);
    default:
      return launch_mma<DecodeLinearShape<4, 6, 2, 512, 3, true>>(p, place);
  }
}

template <int kWarps, typename T>
cudaError_t launch_elements(const DecodeLinearOperands<T>& p, const Place& place) {
  return p.M <= 8 ? launch_mma<DecodeLinearShape<kWarps, 1, 1, 512, 3, false>>(p, place)
                  : launch_mma<DecodeLinearShape<kWarps, 1, 2, 512, 3, false>>(p, place);
}

template <typename T>
cudaError_t launch(const DecodeLinearOperands<T>& p, bool vectors, bool prefetch,
                   cudaStream_t stream);

// The first kMmaRows rows, then the others.
template <typename T>
cudaError_t launch_in_turn(const DecodeLinearOperands<T>& p, bool vectors, bool prefetch,
                           cudaStream_t stream) {
  DecodeLinearOperands<T> first = p, rest = p;
  first.M = kMmaRows;
  rest.M = p.M - kMmaRows;
  const auto advance = [](auto& pointer, int64_t stride) {
    if (pointer != nullptr) pointer += kMmaRows * stride;
  };
  advance(rest.X, p.x_row_stride);
  advance(rest.Y, p.y_row_stride);
  advance(rest.Z, p.z_row_stride);
  advance(rest.R, p.r_row_stride);
  const cudaError_t status = launch(first, vectors, prefetch, stream);
  return status != cudaSuccess ? status : launch(rest, vectors, prefetch, stream);
}

template <typename T>
cudaError_t launch(const DecodeLinearOperands<T>& p, bool vectors, bool prefetch,
                   cudaStream_t stream) {
  Place place{{}, false, stream};
  const cudaError_t status = detail::current_capability(place.device);
  if (status != cudaSuccess) return status;
  place.early = prefetch && place.device.major >= 9;
  if constexpr (sizeof(T) == 2) {
    const bool few = p.M <= 8;
    const int64_t octets =  // a multiprocessor
        detail::ceil_div(p.N, 8 * static_cast<int64_t>(place.device.multiprocessors));
    // Whatever M ≤ 8, the same: a row keeps its bits.
    if (vectors && place.device.major == detail::kHopperMajor && p.K > 0 &&
        (!few ||
         (octets > kFewOctets && detail::fills_with_warpgroups(p, place.device.multiprocessors)))) {
      return detail::launch_wgmma(p, place.device.multiprocessors, place.early, stream);
    }
    if (p.M > kMmaRows) return launch_in_turn(p, vectors, prefetch, stream);
    if (vectors) return few ? launch_few(p, octets, place) : launch_many(p, octets, place);
    return octets > kFewOctets ? launch_elements<4>(p, place) : launch_elements<8>(p, place);
  } else {
    if (p.M > kMmaRows) return launch_in_turn(p, vectors, prefetch, stream);
    const int64_t blocks = detail::ceil_div(p.N / p.rows_per_column(), detail::kFmaWarps);
    return detail::launch_dependent(
        detail::decode_linear_fma_kernel<T>,
        {static_cast<unsigned>(blocks), detail::kFmaWarps * detail::kWarp, 0}, place.early, stream,
        p);
  }
}

bool sizes_are_good(const DecodeLinear& l) {
  const bool gated = is_gated(l.epilogue);
  return l.M >= 0 && l.M <= kDecodeLinearRows && l.N >= 0 && l.N <= INT_MAX && l.K >= 0 &&
         l.K <= INT_MAX && l.K2 >= 0 && l.K2 <= INT_MAX && !(gated && l.N % 2 != 0) &&
         l.residual_columns >= 0 && l.residual_columns <= columns_of(l) && l.norm_hidden >= 0 &&
         !(l.norm_hidden > 0 && l.K2 > 0) && !(l.norm_weight != nullptr && l.norm_hidden == 0) &&
         (l.M <= 1 || (l.x_row_stride >= l.K && l.y_row_stride >= columns_of(l) &&
                       l.z_row_stride >= l.K2 && l.r_row_stride >= l.residual_columns));
}

bool pointers_are_good(const DecodeLinear& l) {
  const int64_t size = size_of(l.type);
  const auto good = [size](const void* pointer, bool needed) {
    return (pointer != nullptr || !needed) && detail::is_aligned(pointer, size);
  };
  return good(l.Y, true) && good(l.X, l.K > 0) && good(l.W, l.K > 0) && good(l.Z, l.K2 > 0) &&
         good(l.V, l.K2 > 0) && good(l.R, l.residual_columns > 0) && good(l.bias, false) &&
         good(l.diagonal, false) && good(l.norm_weight, false);
}

// Other blocks read an operand while one writes Y; only R's elements are read by their writer.
bool overlaps_are_good(const DecodeLinear& l) {
  const int64_t size = size_of(l.type);
  const int64_t y_bytes = detail::strided_extent(l.M, columns_of(l), l.y_row_stride) * size;
  const auto apart = [&](const void* pointer, int64_t elements) {
    return pointer == nullptr || detail::are_disjoint(l.Y, y_bytes, pointer, elements * size);
  };
  const bool in_place = l.Y == l.R && (l.y_row_stride == l.r_row_stride || l.M == 1);
  return apart(l.X, detail::strided_extent(l.M, l.K, l.x_row_stride)) && apart(l.W, l.N * l.K) &&
         apart(l.Z, detail::strided_extent(l.M, l.K2, l.z_row_stride)) && apart(l.V, l.N * l.K2) &&
         apart(l.bias, l.N) && apart(l.diagonal, l.residual_columns) && apart(l.norm_weight, l.K) &&
         (in_place || apart(l.R, detail::strided_extent(l.M, l.residual_columns, l.r_row_stride)));
}

// Whether all rows of X, W, Z and V, and the norm's weight, start at a multiple of 16 bytes and end
// there.
bool takes_vectors(const DecodeLinear& l) {
  const int64_t pack = kVectorBytes / size_of(l.type);
  const auto rows = [&](const void* pointer, int64_t columns, int64_t stride) {
    return columns == 0 || (detail::is_aligned(pointer, kVectorBytes) && columns % pack == 0 &&
                            (l.M <= 1 || stride % pack == 0));
  };
  return rows(l.X, l.K, l.x_row_stride) && rows(l.W, l.K, l.K) && rows(l.Z, l.K2, l.z_row_stride) &&
         rows(l.V, l.K2, l.K2) && detail::is_aligned(l.norm_weight, kVectorBytes);
}

}  // namespace

int64_t decode_linear_fast_rows(DataType type) {
  detail::Capability device;
  const bool hopper =
      detail::current_capability(device) == cudaSuccess && device.major == detail::kHopperMajor;
  return hopper && size_of(type) == 2 ? kDecodeLinearRows : 8;
}

cudaError_t decode_linear(const DecodeLinear& l, cudaStream_t stream) {
  if (!sizes_are_good(l)) return cudaErrorInvalidValue;
  if (l.M == 0 || l.N == 0) return cudaSuccess;
  if (!pointers_are_good(l) || !overlaps_are_good(l)) return cudaErrorInvalidValue;
  return detail::dispatch(l.type, [&](auto tag) {
    using T = typename decltype(tag)::Type;
    return launch(detail::operands_of<T>(l), takes_vectors(l), l.prefetch, stream);
  });
}

}  // namespace slice::kernels
