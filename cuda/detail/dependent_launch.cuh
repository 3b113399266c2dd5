#pragma once

#include <cuda_runtime.h>

#include <cstddef>

// Programmatic dependent launch (compute capability 9.0): a kernel starts while the previous one
// still runs, and waits before it first touches what that one made. On other devices these
// functions do nothing.

namespace slice::kernels::detail {

/// Waits until the previous kernels on the stream have finished and their writes are visible.
__device__ __forceinline__ void wait_for_previous_kernel() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

/// Lets the next kernel start once all blocks have come here. Called before
/// wait_for_previous_kernel(), it lets the next kernel run beside the previous one too: what the
/// next one does before it waits must then depend on neither.
__device__ __forceinline__ void start_next_kernel() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

struct LaunchShape {
  unsigned blocks;
  unsigned threads;
  size_t shared_bytes;
  unsigned cluster = 1;  ///< blocks of a cluster; more than one on compute capability 9.0 alone
};

/// Launches a kernel that calls wait_for_previous_kernel(); `early` allows it to start early.
template <typename... Parameters, typename... Arguments>
cudaError_t launch_dependent(void (*kernel)(Parameters...), const LaunchShape& shape, bool early,
                             cudaStream_t stream, Arguments&&... arguments) {
  cudaLaunchAttribute attributes[2] = {};
  unsigned count = 0;
  if (early) {
    attributes[count].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[count++].val.programmaticStreamSerializationAllowed = 1;
  }
  if (shape.cluster > 1) {
    attributes[count].id = cudaLaunchAttributeClusterDimension;
    attributes[count++].val.clusterDim = {shape.cluster, 1, 1};
  }
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(shape.blocks);
  config.blockDim = dim3(shape.threads);
  config.dynamicSmemBytes = shape.shared_bytes;
  config.stream = stream;
  config.attrs = attributes;
  config.numAttrs = count;
  return cudaLaunchKernelEx(&config, kernel, arguments...);
}

}  // namespace slice::kernels::detail
