#include "cuda/sample.h"

#include <algorithm>

#include "cuda/detail/dependent_launch.cuh"
#include "cuda/detail/early_start.h"
#include "cuda/detail/numeric.cuh"
#include "cuda/detail/range.h"

// next_token:   t = argmax(logits);  x = E[t] + P[p]
//   logits (B, V)   E (V, k)   P (…, k)   x (B, k)     row-major, contiguous
// grid    up to kMostBlocks blocks a row of logits; the last of them to finish looks the token up
// block   256 threads, packs of 16 bytes where rows allow
// shared  one key a warp
// numerics  a maximum of integer keys, so no order matters; the two rows add up in float32
// edges   −0 and 0 tie; a NaN is the largest and gives −1
// work    reads B·V and 2·B·k elements, writes B·k

namespace slice::kernels {
namespace {

using detail::Pack;

constexpr int kThreads = 256;
constexpr int kWarp = 32;
constexpr int kPacksPerThread = 4;
constexpr int kMostBlocks = 64;
constexpr int kVectorBytes = 16;

using Key = unsigned long long;  // what atomicMax takes

/// A row's best token so far.
struct Best {
  Key key;
  unsigned ticket;
};

template <typename T>
struct Arguments {
  T* x;
  int64_t* history;
  int32_t* positions;
  const T* logits;
  const T* embedding;
  const T* position_rows;
  Best* best;
  int64_t vocabulary, width, capacity, position_offset;
  int blocks;  // a row
};

constexpr unsigned kNanBits = 0xffffffffu;

/// Larger for a larger logit, and of equal ones for the lower id.
__device__ __forceinline__ Key key_of(float value, unsigned id) {
  const unsigned bits = __float_as_uint(value + 0.0f);  // −0 becomes 0
  const unsigned ordered = isnan(value)                ? kNanBits
                           : (bits & 0x80000000u) != 0 ? ~bits
                                                       : bits | 0x80000000u;
  return (static_cast<Key>(ordered) << 32) | (0xffffffffu - id);
}

__device__ __forceinline__ Key block_maximum(Key key, Key* partial) {
#pragma unroll
  for (int mask = kWarp / 2; mask > 0; mask /= 2) {
    key = max(key, __shfl_xor_sync(0xffffffffu, key, mask));
  }
  if (threadIdx.x % kWarp == 0) partial[threadIdx.x / kWarp] = key;
  __syncthreads();
  Key result = partial[0];
#pragma unroll
  for (int warp = 1; warp < kThreads / kWarp; ++warp) result = max(result, partial[warp]);
  return result;
}

/// Moves a row on to its next token, whose embedding all threads of the block fetch.
template <typename T>
__device__ __forceinline__ void look_up(const Arguments<T>& a, int row, int64_t token,
                                        int64_t position) {
  const T* from = a.embedding + max(token, int64_t{0}) * a.width;
  for (int64_t i = threadIdx.x; i < a.width; i += kThreads) {
    float value = detail::widen(from[i]);
    if (a.position_rows != nullptr) {
      value += detail::widen(a.position_rows[(position + a.position_offset) * a.width + i]);
    }
    a.x[row * a.width + i] = detail::narrow<T>(value);
  }
  if (threadIdx.x == 0) {
    a.history[row * a.capacity + position] = token;
    a.positions[row] = static_cast<int32_t>(position);
  }
}

template <typename T>
__global__ void __launch_bounds__(kThreads) given_token_kernel(const Arguments<T> a) {
  detail::wait_for_previous_kernel();
  detail::start_next_kernel();
  const int row = static_cast<int>(blockIdx.x);
  const int64_t position = int64_t{a.positions[row]} + 1;
  const int64_t token = a.history[row * a.capacity + position];
  __syncthreads();  // everyone has read what look_up changes
  look_up(a, row, token, position);
}

template <typename T, int kWidth>
__global__ void __launch_bounds__(kThreads) greedy_token_kernel(const Arguments<T> a) {
  using P = Pack<T, kWidth>;
  __shared__ Key partial[kThreads / kWarp];
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
      key = max(key, key_of(detail::widen(pack.values[j]), static_cast<unsigned>(i * kWidth + j)));
    }
  }
  key = block_maximum(key, partial);
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
  const bool broken = static_cast<unsigned>(winner >> 32) == kNanBits;
  const int64_t token = broken ? -1 : int64_t{0xffffffffu - static_cast<unsigned>(winner)};
  const int64_t position = int64_t{a.positions[row]} + 1;
  __syncthreads();
  look_up(a, row, token, position);
}

template <typename T>
cudaError_t launch(const NextToken& p, cudaStream_t stream) {
  constexpr int kWidth = kVectorBytes / static_cast<int>(sizeof(T));
  const bool early = detail::can_start_early();
  const bool vectors = p.vocabulary % kWidth == 0 && detail::is_aligned(p.logits, kVectorBytes);
  const int64_t packs = vectors ? p.vocabulary / kWidth : p.vocabulary;
  const int64_t wanted = detail::ceil_div(packs, kThreads * kPacksPerThread);
  Arguments<T> a{static_cast<T*>(p.x),
                 p.history,
                 p.positions,
                 static_cast<const T*>(p.logits),
                 static_cast<const T*>(p.embedding),
                 static_cast<const T*>(p.position_rows),
                 static_cast<Best*>(p.workspace),
                 p.vocabulary,
                 p.width,
                 p.capacity,
                 p.position_offset,
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
  constexpr int64_t kMost = int64_t{1} << 24;
  if (p.batch < 0 || p.batch > kMost || p.vocabulary < 1 || p.vocabulary > INT32_MAX ||
      p.width < 0 || p.capacity < 1 || p.type == DataType::kFloat64) {
    return cudaErrorInvalidValue;
  }
  if (p.batch == 0) return cudaSuccess;
  if (p.x == nullptr || p.history == nullptr || p.positions == nullptr || p.embedding == nullptr ||
      (p.logits != nullptr && p.workspace == nullptr)) {
    return cudaErrorInvalidValue;
  }
  switch (p.type) {
    case DataType::kFloat16:
      return launch<__half>(p, stream);
    case DataType::kBFloat16:
      return launch<__nv_bfloat16>(p, stream);
    default:
      return launch<float>(p, stream);
  }
}

}  // namespace slice::kernels
