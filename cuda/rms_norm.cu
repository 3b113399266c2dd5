#include "cuda/rms_norm.h"

#include <algorithm>

#include "cuda/detail/norm_pack.cuh"
#include "cuda/detail/numeric.cuh"
#include "cuda/detail/range.h"
#include "cuda/detail/warp.cuh"

// rms_norm:   y = x · 1/sqrt(Σ x² / hidden + eps) [· weight] [+ residual]
//   x (rows, columns) with a row stride   y, residual (rows, columns) contiguous   weight (columns)
// grid    one block a row (a loop past 2³¹ − 1 rows)
// block   32 … 1024 threads, two packs of 16 bytes a thread up to 32 KiB a row
// shared  one sum a warp
// numerics  squares, sum and scale in float32 (float64 for float64), one rounding to T; the order
//         of the sum depends on columns, type and alignment only: a row has the same bits anywhere
// edges   any rows, columns ≥ 0; an unaligned view or weight takes one-element packs; y may be x
//         (contiguous), or the residual
// work    reads and writes rows·columns elements once; past kCached packs a thread, reads twice

namespace slice::kernels {
namespace {

using detail::Accumulator;
using detail::kVectorBytes;
using detail::kWarp;
using detail::Pack;

constexpr int kMaxThreads = 1024;
constexpr int kCached = 4;          // packs a thread keeps in registers between the two sweeps
constexpr int kPacksPerThread = 2;  // aimed at: enough bytes in flight without idle threads

template <typename T, int kWidth>
__device__ __forceinline__ Pack<T, kWidth> scaled(const Pack<T, kWidth>& pack,
                                                  Accumulator<T> scale) {
  Pack<T, kWidth> result;
#pragma unroll
  for (int i = 0; i < kWidth; ++i) {
    result.values[i] = detail::narrow<T>(detail::widen(pack.values[i]) * scale);
  }
  return result;
}

template <typename T, int kWidth>
__device__ __forceinline__ Pack<T, kWidth> added(const Pack<T, kWidth>& pack, Accumulator<T> scale,
                                                 const Pack<T, kWidth>& weight,
                                                 const Pack<T, kWidth>& residual) {
  Pack<T, kWidth> result;
#pragma unroll
  for (int i = 0; i < kWidth; ++i) {
    const Accumulator<T> normed =
        detail::widen(pack.values[i]) * scale * detail::widen(weight.values[i]);
    result.values[i] = detail::narrow<T>(detail::widen(residual.values[i]) + normed);
  }
  return result;
}

/// What is done to x beside the division.
enum class Form { kPlain, kWeighted, kAdded };

// No __restrict__: y may be x, or the residual. Each thread reads its packs before it writes them,
// and only those.
template <typename T, int kWidth, Form kForm>
__global__ void __launch_bounds__(kMaxThreads)
    rms_norm_kernel(T* y, const T* x, const T* weight, const T* residual, int64_t rows,
                    int64_t packs, int64_t x_row_stride, Accumulator<T> hidden,
                    Accumulator<T> eps) {
  using A = Accumulator<T>;
  using P = Pack<T, kWidth>;
  __shared__ A partial[kMaxThreads / kWarp];
  const auto written = [&](const P& pack, A scale, int64_t row, int64_t index) {
    if constexpr (kForm == Form::kPlain) {
      return scaled<T, kWidth>(pack, scale);
    } else {
      const P own =
          reinterpret_cast<const P*>(weight)[index];  // a reference would be read by elements
      if constexpr (kForm == Form::kWeighted) return detail::weighted<T, kWidth>(pack, scale, own);
      const P to = reinterpret_cast<const P*>(residual)[row * packs + index];
      return added<T, kWidth>(pack, scale, own, to);
    }
  };

  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const P* source = reinterpret_cast<const P*>(x + row * x_row_stride);
    P* target = reinterpret_cast<P*>(y + row * packs * kWidth);
    const int64_t uncached = threadIdx.x + int64_t{kCached} * blockDim.x;

    P cache[kCached];
    A sum = 0;
#pragma unroll
    for (int i = 0; i < kCached; ++i) {
      const int64_t index = threadIdx.x + int64_t{i} * blockDim.x;
      if (index < packs) {
        cache[i] = source[index];
        sum += detail::sum_of_squares<T, kWidth>(cache[i]);
      }
    }
    for (int64_t index = uncached; index < packs; index += blockDim.x) {
      sum += detail::sum_of_squares<T, kWidth>(source[index]);
    }

    const A scale = A(1) / detail::square_root(detail::block_sum(sum, partial) / hidden + eps);
#pragma unroll
    for (int i = 0; i < kCached; ++i) {
      const int64_t index = threadIdx.x + int64_t{i} * blockDim.x;
      if (index < packs) target[index] = written(cache[i], scale, row, index);
    }
    for (int64_t index = uncached; index < packs; index += blockDim.x) {
      target[index] = written(source[index], scale, row, index);
    }
  }
}

template <typename T, int kWidth>
cudaError_t launch(T* y, const T* x, const T* weight, const T* residual, int64_t rows,
                   int64_t columns, int64_t x_row_stride, int64_t hidden, double eps,
                   cudaStream_t stream) {
  using A = Accumulator<T>;
  const int64_t packs = columns / kWidth;
  const int64_t wanted = detail::ceil_div(detail::ceil_div(packs, kPacksPerThread), kWarp) * kWarp;
  const auto threads = static_cast<unsigned>(std::min<int64_t>(wanted, kMaxThreads));
  const auto blocks = static_cast<unsigned>(std::min<int64_t>(rows, INT32_MAX));
  const auto kernel = residual != nullptr ? rms_norm_kernel<T, kWidth, Form::kAdded>
                      : weight != nullptr ? rms_norm_kernel<T, kWidth, Form::kWeighted>
                                          : rms_norm_kernel<T, kWidth, Form::kPlain>;
  kernel<<<blocks, threads, 0, stream>>>(y, x, weight, residual, rows, packs, x_row_stride,
                                         static_cast<A>(hidden), static_cast<A>(eps));
  return cudaPeekAtLastError();
}

}  // namespace

cudaError_t rms_norm(void* y, const void* x, const void* weight, const void* residual,
                     DataType type, int64_t rows, int64_t columns, int64_t x_row_stride,
                     int64_t hidden, double eps, cudaStream_t stream) {
  if (rows < 0 || columns < 0 || x_row_stride < 0 || hidden < 1) return cudaErrorInvalidValue;
  if (rows == 0 || columns == 0) return cudaSuccess;

  const int64_t size = size_of(type);
  const bool in_place = y == x && (x_row_stride == columns || rows == 1);
  const int64_t x_bytes = detail::strided_extent(rows, columns, x_row_stride) * size;
  const int64_t y_bytes = rows * columns * size;
  if (y == nullptr || x == nullptr || (residual != nullptr && weight == nullptr) ||
      !detail::is_aligned(y, size) || !detail::is_aligned(x, size) ||
      !detail::is_aligned(weight, size) || !detail::is_aligned(residual, size) ||
      !(residual == nullptr || residual == y ||
        detail::are_disjoint(y, y_bytes, residual, y_bytes)) ||
      !detail::are_disjoint(y, y_bytes, weight, weight == nullptr ? 0 : columns * size) ||
      !(in_place || detail::are_disjoint(y, y_bytes, x, x_bytes))) {
    return cudaErrorInvalidValue;
  }

  const bool vectors =
      detail::is_aligned(y, kVectorBytes) && detail::is_aligned(x, kVectorBytes) &&
      detail::is_aligned(weight, kVectorBytes) && detail::is_aligned(residual, kVectorBytes) &&
      columns * size % kVectorBytes == 0 && x_row_stride * size % kVectorBytes == 0;
  return detail::dispatch(type, [&](auto tag) {
    using T = typename decltype(tag)::Type;
    constexpr int kWidth = kVectorBytes / static_cast<int>(sizeof(T));
    auto* out = static_cast<T*>(y);
    const auto* in = static_cast<const T*>(x);
    const auto* by = static_cast<const T*>(weight);
    const auto* to = static_cast<const T*>(residual);
    return vectors
               ? launch<T, kWidth>(out, in, by, to, rows, columns, x_row_stride, hidden, eps,
                                   stream)
               : launch<T, 1>(out, in, by, to, rows, columns, x_row_stride, hidden, eps, stream);
  });
}

}  // namespace slice::kernels
