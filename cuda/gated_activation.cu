#include "cuda/gated_activation.h"

#include <algorithm>

#include "cuda/detail/activation.cuh"
#include "cuda/detail/numeric.cuh"
#include "cuda/detail/range.h"

// gated_activation:   h[i] = gate(pairs[2i]) · pairs[2i + 1]
//   pairs (count, 2)   h (count)     contiguous
// grid    ⌈packs / (256 · 4)⌉ blocks, at least one (a loop past 2³¹ − 1)
// block   256 threads; four packs of 16 bytes a thread on their way at one time
// shared  none
// numerics  everything in float32, one rounding to T
// edges   any count ≥ 0; what fills no pack goes one by one; unaligned views take single pairs
// work    reads 2·count elements once, writes count

namespace slice::kernels {
namespace {

using detail::kVectorBytes;
using detail::Pack;

constexpr int kThreads = 256;
constexpr int kPacks = 4;  // a thread

template <Gate kGate>
__device__ __forceinline__ float gated(float gate, float up) {
  return (kGate == Gate::kSilu ? detail::silu(gate) : detail::gelu_tanh(gate)) * up;
}

template <typename T, int kWidth, Gate kGate>
__device__ __forceinline__ Pack<T, kWidth> gated(const Pack<T, 2 * kWidth>& pairs) {
  Pack<T, kWidth> h;
#pragma unroll
  for (int i = 0; i < kWidth; ++i) {
    h.values[i] = detail::narrow<T>(
        gated<kGate>(detail::widen(pairs.values[2 * i]), detail::widen(pairs.values[2 * i + 1])));
  }
  return h;
}

/// One access where pointers allow packs; single pairs are aligned to their elements alone.
template <typename T, int kWidth>
__device__ __forceinline__ Pack<T, 2 * kWidth> pairs_at(const T* pairs, int64_t pack) {
  if constexpr (kWidth == 1) {
    return {{pairs[2 * pack], pairs[2 * pack + 1]}};
  } else {
    return reinterpret_cast<const Pack<T, 2 * kWidth>*>(pairs)[pack];
  }
}

template <typename T, int kWidth, Gate kGate>
__global__ void __launch_bounds__(kThreads)
    gated_activation_kernel(T* __restrict__ h, const T* __restrict__ pairs, int64_t count) {
  using In = Pack<T, 2 * kWidth>;
  using Out = Pack<T, kWidth>;
  Out* target = reinterpret_cast<Out*>(h);
  const int64_t packs = count / kWidth;
  constexpr int64_t kBlock = int64_t{kThreads} * kPacks;

  for (int64_t first = blockIdx.x * kBlock + threadIdx.x; first < packs;
       first += gridDim.x * kBlock) {
    In read[kPacks];
#pragma unroll
    for (int i = 0; i < kPacks; ++i) {
      const int64_t index = first + i * kThreads;
      if (index < packs) read[i] = pairs_at<T, kWidth>(pairs, index);
    }
#pragma unroll
    for (int i = 0; i < kPacks; ++i) {
      const int64_t index = first + i * kThreads;
      if (index < packs) target[index] = gated<T, kWidth, kGate>(read[i]);
    }
  }

  const int64_t rest = packs * kWidth + threadIdx.x;
  if (blockIdx.x == 0 && rest < count) {
    h[rest] = detail::narrow<T>(
        gated<kGate>(detail::widen(pairs[2 * rest]), detail::widen(pairs[2 * rest + 1])));
  }
}

template <typename T, int kWidth>
cudaError_t launch(void* h, const void* pairs, Gate gate, int64_t count, cudaStream_t stream) {
  const auto kernel = gate == Gate::kSilu ? gated_activation_kernel<T, kWidth, Gate::kSilu>
                                          : gated_activation_kernel<T, kWidth, Gate::kGeluTanh>;
  const int64_t wanted = detail::ceil_div(count / kWidth, int64_t{kThreads} * kPacks);
  const auto blocks = static_cast<unsigned>(std::clamp<int64_t>(wanted, 1, INT32_MAX));
  kernel<<<blocks, kThreads, 0, stream>>>(static_cast<T*>(h), static_cast<const T*>(pairs), count);
  return cudaPeekAtLastError();
}

template <typename T>
cudaError_t launch(void* h, const void* pairs, Gate gate, int64_t count, cudaStream_t stream) {
  constexpr int kWidth = kVectorBytes / 2 / static_cast<int>(sizeof(T));
  const bool vectors =
      detail::is_aligned(h, kVectorBytes / 2) && detail::is_aligned(pairs, kVectorBytes);
  return vectors ? launch<T, kWidth>(h, pairs, gate, count, stream)
                 : launch<T, 1>(h, pairs, gate, count, stream);
}

}  // namespace

cudaError_t gated_activation(void* h, const void* pairs, Gate gate, DataType type, int64_t count,
                             cudaStream_t stream) {
  if (count < 0 || type == DataType::kFloat64) return cudaErrorInvalidValue;
  if (count == 0) return cudaSuccess;
  const int64_t bytes = count * size_of(type);
  if (h == nullptr || pairs == nullptr || !detail::is_aligned(h, size_of(type)) ||
      !detail::is_aligned(pairs, size_of(type)) ||
      !detail::are_disjoint(h, bytes, pairs, 2 * bytes)) {
    return cudaErrorInvalidValue;
  }
  return detail::dispatch_up_to_float32(type, [&](auto tag) {
    using T = typename decltype(tag)::Type;
    return launch<T>(h, pairs, gate, count, stream);
  });
}

}  // namespace slice::kernels
