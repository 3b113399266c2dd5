#include "cuda/sample_token.h"

#include "cuda/detail/capability.h"
#include "cuda/detail/dependent_launch.cuh"
#include "cuda/detail/range.h"
#include "cuda/detail/sample_token.cuh"

// sample_token:   t ~ nucleus of softmax(logits / temperature);  x = scale · E[t] + P[p]
//   logits (B, V)   E (V, k)   P (…, k)   x (B, k)     row-major, contiguous
// grid    B; a block samples for a row
// block   1024 threads, packs of 16 bytes where rows allow
// shared  33 KiB: sums of weights by q's upper bits, counts by its lower ones
// numerics  q by one subtraction and one product in float32, the rest whole numbers of 64 bits: any
//         order of sums gives the same token
// edges   −0 and 0 tie, −∞ is never sampled where anything else is, +∞ always; a NaN gives −1
// work    reads B·V elements, once more for top_p = 1, three times more below, 2·B·k elements

namespace slice::kernels {
namespace {

using detail::kSampleThreads;
using detail::kVectorBytes;
using detail::Pack;
using detail::SampleRow;
using detail::SampleShared;

template <typename T>
struct Arguments {
  detail::TokenStep<T> step;
  const T* logits;
  const TokenSampling* samplings;
  int64_t vocabulary;
};

template <typename T, int kWidth>
__device__ __forceinline__ detail::TokenKey most_likely(const Pack<T, kWidth>* logits, int packs,
                                                        SampleShared& shared) {
  detail::TokenKey key = 0;
#pragma unroll 4
  for (int i = static_cast<int>(threadIdx.x); i < packs; i += kSampleThreads) {
    const Pack<T, kWidth> pack = logits[i];
#pragma unroll
    for (int j = 0; j < kWidth; ++j) {
      key = max(key, detail::key_of(detail::widen(pack.values[j]),
                                    static_cast<unsigned>(i * kWidth + j)));
    }
  }
  return detail::block_maximum<kSampleThreads>(key, shared.keys);
}

template <typename T, int kWidth>
__global__ void __launch_bounds__(kSampleThreads, 1) sample_token_kernel(const Arguments<T> a) {
  __shared__ SampleShared shared;
  detail::wait_for_previous_kernel();
  detail::start_next_kernel();
  const int row = static_cast<int>(blockIdx.x);
  const T* logits = a.logits + row * a.vocabulary;
  const int packs = static_cast<int>(a.vocabulary / kWidth);
  const TokenSampling sampling = a.samplings[row];
  const int64_t position = int64_t{a.step.positions[row]} + 1;
  SampleRow<T, kWidth> packed{reinterpret_cast<const Pack<T, kWidth>*>(logits), 0.0f,
                              sampling.steps};
  int64_t token = detail::token_of(most_likely(packed.packs, packs, shared));
  if (token >= 0 && !isinf(sampling.steps)) {
    packed.largest = detail::widen(logits[token]);
    const detail::Boundary end = sampling.top_p >> 32 != 0
                                     ? detail::Boundary{detail::kEnd, 0}
                                     : detail::nucleus_end(packed, packs, sampling.top_p, shared);
    if (threadIdx.x == 0) {
      shared.begin = 0;
      shared.end = packs;
    }
    __syncthreads();
    const uint64_t random = detail::sample_bits(sampling, static_cast<uint64_t>(position));
    detail::narrow_down(packed, end, true, random, shared);
    detail::narrow_down(packed, end, false, random, shared);
    if (threadIdx.x < detail::kWarp) {
      token = detail::token_in(packed, end, shared);
      if (threadIdx.x == 0) shared.token = token;
    }
    __syncthreads();
    token = shared.token;
  }
  __syncthreads();  // everyone has read what a step changes
  a.step.take(row, token, position);
}

template <typename T>
cudaError_t launch(const NextToken& p, const TokenSampling* samplings, cudaStream_t stream) {
  constexpr int kWidth = kVectorBytes / static_cast<int>(sizeof(T));
  const bool vectors = p.vocabulary % kWidth == 0 && detail::is_aligned(p.logits, kVectorBytes);
  const Arguments<T> a{detail::TokenStep<T>(p), static_cast<const T*>(p.logits), samplings,
                       p.vocabulary};
  const auto start = [&](auto kernel) {
    const cudaError_t status =
        detail::launch_dependent(kernel, {static_cast<unsigned>(p.batch), kSampleThreads, 0},
                                 detail::can_start_early(), stream, a);
    return status != cudaSuccess ? status : cudaPeekAtLastError();
  };
  return vectors ? start(sample_token_kernel<T, kWidth>) : start(sample_token_kernel<T, 1>);
}

}  // namespace

cudaError_t sample_token(const NextToken& p, const TokenSampling* samplings, cudaStream_t stream) {
  constexpr int64_t kMostIds = int64_t{1} << 24;
  if (!detail::token_step_is_valid(p) || p.vocabulary > kMostIds) return cudaErrorInvalidValue;
  if (p.batch == 0) return cudaSuccess;
  if (p.logits == nullptr || samplings == nullptr) return cudaErrorInvalidValue;
  return detail::dispatch_up_to_float32(p.type, [&](auto tag) {
    using T = typename decltype(tag)::Type;
    return launch<T>(p, samplings, stream);
  });
}

}  // namespace slice::kernels
