#pragma once

#include "cuda/detail/decode_step_copies.cuh"
#include "cuda/detail/decode_step_products.cuh"
#include "cuda/detail/decode_step_sums.cuh"

// decode_step for float16 and bfloat16 on compute capability 9.0: what the warps of a block do. All
// of them go through the operations one after the other, each at its own time: the copiers are ahead
// by as much as the ring holds, so that weights keep coming while blocks wait for each other.

namespace slice::kernels::detail {

template <typename T, int kHead>
__global__ void __launch_bounds__(kStepThreads, 1)
    decode_step_kernel(const __grid_constant__ StepArguments<T> step) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  extern __shared__ __align__(128) uint8_t ring[];
  __shared__ StepShared<T, kHead> shared;
  const StepBlock<T, kHead> block(step, shared, ring);
  if (threadIdx.x == 0) block.prepare();
  __syncthreads();
  const int warp = warp_of_thread();
  if (warp < kStepMultipliers) {
    StepProducts<T, kHead>(block).multiply();
  } else if (warp == kStepAdder) {
    StepSums<T, kHead>(block).add_up();
  } else if (warp < kStepScout) {
    StepCopies<T, kHead>(block).copy();
  } else if (lane_of_thread() == 0) {
    StepCopies<T, kHead>(block).look_ahead();
  }
#endif
}

}  // namespace slice::kernels::detail
