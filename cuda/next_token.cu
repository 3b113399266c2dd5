#include "cuda/next_token.h"

#include <algorithm>

#include "cuda/detail/capability.h"
#include "cuda/detail/dependent_launch.cuh"
#include "cuda/detail/next_token.cuh"
#include "cuda/detail/range.h"

// next_token:   t = argmax(logits);  x = scale · E[t] + P[p]
//   logits (B, V)   E (V, k)   P (…, k)   x (B, k)     row-major, contiguous
// grid    up to kMostBlocks blocks a row of logits; the last of them to finish looks the token up
// block   256 threads, packs of 16 bytes where rows allow
// shared  one key a warp
// numerics  a maximum of integer keys, so no order matters; the two rows add up in float32
// edges   −0 and 0 tie; a NaN is the largest and gives −1
// work    reads B·V and 2·B·k elements, writes B·k

namespace slice::kernels {
namespace {

using detail::kVectorBytes;
using detail::Pack;
using Key = detail::TokenKey;

constexpr int kThreads = 256;
constexpr int kPacksPerThread = 4;
constexpr int kMostBlocks = 64;

/// A row's best token so far.
struct Best {
  Key key;
  unsigned ticket;
};

template <typename T>
struct Arguments {
  detail::TokenStep<T> step;
  const T* logits;
  Best* best;
  int64_t vocabulary;
  int blocks;  // a row
};

template <typename T>
__global__ void __launch_bounds__(kThreads) given_token_kernel(const Arguments<T> a) {
  detail::wait_for_previous_kernel();
  detail::start_next_kernel();
  const int row = static_cast<int>(blockIdx.x);
  const int64_t position = int64_t{a.step.positions[row]} + 1;
  const int64_t token = a.step.history[row * a.step.capacity + position];
  __syncthreads();  // everyone has read what a step changes
  a.step.take(row, token, position);
}

template <typename T, int kWidth>
__global__ void __launch_bounds__(kThreads) greedy_token_kernel(const Arguments<T> a) {
  using P = Pack<T, kWidth>;
  __shared__ Key partial[kThreads / detail::kWarp];
  __shared__ Key winner;
  __shared__ bool is_last;
  detail::wait_for_previous_kernel();
  detail::start_next_kernel();
  const int row = static_cast<int>(blockIdx.x) / a.blocks;
  const int part = static_cast<int>(blockIdx.x) % a.blocks;
  const P* logits = reinterpret_cast<const P*>(a.logits + row * a.vocabulary);
  const int64_t packs = a.vocabulary / kWidth;
  Key key = 0;
  for (int64_t i = int64_t{part} * kThreads + threadIdx.x; i < packs;
       i += int64_t{a.blocks} * kThreads) {
    const P pack = logits[i];
#pragma unroll
    for (int j = 0; j < kWidth; ++j) {
      key = max(key, detail::key_of(detail::widen(pack.values[j]),
                                    static_cast<unsigned>(i * kWidth + j)));
    }
  }
  key = detail::block_maximum<kThreads>(key, partial);
  if (threadIdx.x == 0) {
    Best& best = a.best[row];
    atomicMax(&best.key, key);
    __threadfence();
    is_last = atomicAdd(&best.ticket, 1u) + 1 == static_cast<unsigned>(a.blocks);
    if (is_last) {
      winner = atomicExch(&best.key, 0ull);
      best.ticket = 0;
    }
  }
  __syncthreads();
  if (!is_last) return;
  const int64_t position = int64_t{a.step.positions[row]} + 1;
  __syncthreads();
  a.step.take(row, detail::token_of(winner), position);
}

template <typename T>
cudaError_t launch(const NextToken& p, cudaStream_t stream) {
  constexpr int kWidth = kVectorBytes / static_cast<int>(sizeof(T));
  const bool early = detail::can_start_early();
  const bool vectors = p.vocabulary % kWidth == 0 && detail::is_aligned(p.logits, kVectorBytes);
  const int64_t packs = vectors ? p.vocabulary / kWidth : p.vocabulary;
  const int64_t wanted = detail::ceil_div(packs, kThreads * kPacksPerThread);
  Arguments<T> a{detail::TokenStep<T>(p), static_cast<const T*>(p.logits),
                 static_cast<Best*>(p.workspace), p.vocabulary,
                 static_cast<int>(std::min<int64_t>(wanted, kMostBlocks))};
  const auto start = [&](auto kernel, int64_t blocks) {
    const cudaError_t status = detail::launch_dependent(
        kernel, {static_cast<unsigned>(blocks), kThreads, 0}, early, stream, a);
    return status != cudaSuccess ? status : cudaPeekAtLastError();
  };
  if (p.logits == nullptr) return start(given_token_kernel<T>, p.batch);
  return vectors ? start(greedy_token_kernel<T, kWidth>, p.batch * a.blocks)
                 : start(greedy_token_kernel<T, 1>, p.batch * a.blocks);
}

}  // namespace

size_t next_token_workspace_bytes(int64_t batch) {
  return static_cast<size_t>(batch) * sizeof(Best);
}

cudaError_t next_token(const NextToken& p, cudaStream_t stream) {
  if (!detail::token_step_is_valid(p)) return cudaErrorInvalidValue;
  if (p.batch == 0) return cudaSuccess;
  if (p.logits != nullptr && p.workspace == nullptr) return cudaErrorInvalidValue;
  return detail::dispatch_up_to_float32(p.type, [&](auto tag) {
    using T = typename decltype(tag)::Type;
    return launch<T>(p, stream);
  });
}

}  // namespace slice::kernels
