#pragma once

#include <cuda_runtime.h>

// Sums and maxima over the lanes of a warp, over teams of neighbouring lanes, and over a block.

namespace slice::kernels::detail {

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

__device__ __forceinline__ int lane_of_thread() { return static_cast<int>(threadIdx.x) % kWarp; }
__device__ __forceinline__ int warp_of_thread() { return static_cast<int>(threadIdx.x) / kWarp; }

/// Every lane of a team of kTeam gets the sum; the butterfly adds the same pairs in all lanes, so
/// all get the same bits. All lanes of the warp take part.
template <int kTeam, typename Value>
__device__ __forceinline__ Value team_sum(Value value) {
#pragma unroll
  for (int mask = kTeam / 2; mask > 0; mask /= 2) {
    value += __shfl_xor_sync(kAllLanes, value, mask);
  }
  return value;
}

template <typename Value>
__device__ __forceinline__ Value warp_sum(Value value) {
  return team_sum<kWarp>(value);
}

/// The sum of four neighbouring lanes, as team_sum, but nearest lanes first.
__device__ __forceinline__ float quad_sum(float value) {
  value += __shfl_xor_sync(kAllLanes, value, 1);
  value += __shfl_xor_sync(kAllLanes, value, 2);
  return value;
}

template <typename Value>
__device__ __forceinline__ Value warp_maximum(Value value) {
#pragma unroll
  for (int mask = kWarp / 2; mask > 0; mask /= 2) {
    value = max(value, __shfl_xor_sync(kAllLanes, value, mask));
  }
  return value;
}

/// The sum of the lanes up to the caller's, itself included.
template <typename Value>
__device__ __forceinline__ Value warp_prefix_sum(Value value) {
  const int lane = lane_of_thread();
#pragma unroll
  for (int step = 1; step < kWarp; step *= 2) {
    const Value other = __shfl_up_sync(kAllLanes, value, step);
    if (lane >= step) value += other;
  }
  return value;
}

/// All threads get the sum of their block, of at most kWarp warps. @param partial  shared, one a
/// warp; free for the next use when this returns
template <typename Value>
__device__ __forceinline__ Value block_sum(Value value, Value* partial) {
  value = warp_sum(value);
  if (blockDim.x == kWarp) return value;
  const int lane = lane_of_thread();
  if (lane == 0) partial[warp_of_thread()] = value;
  __syncthreads();
  value = warp_sum(lane < static_cast<int>(blockDim.x) / kWarp ? partial[lane] : Value(0));
  __syncthreads();
  return value;
}

/// All kThreads threads of a block get its maximum. @param partial  shared; free for the next use
/// only after another __syncthreads()
template <int kThreads, typename Value>
__device__ __forceinline__ Value block_maximum(Value value, Value (&partial)[kThreads / kWarp]) {
  value = warp_maximum(value);
  if (lane_of_thread() == 0) partial[warp_of_thread()] = value;
  __syncthreads();
  Value result = partial[0];
#pragma unroll
  for (int warp = 1; warp < kThreads / kWarp; ++warp) result = max(result, partial[warp]);
  return result;
}

}  // namespace slice::kernels::detail
