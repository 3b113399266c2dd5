#pragma once

#include <cuda_runtime.h>

#include <cstddef>

// Programmatic dependent launch (compute capability 9.0): a kernel starts while the one in front of
// it still runs, and waits where it first touches what that one made. Elsewhere all of it is
// nothing.

namespace slice::kernels::detail {

/// Waits until the kernels in front of this one have finished and their writes are visible.
__device__ __forceinline__ void wait_for_previous_kernel() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

/// Lets the next kernel start once all blocks have come here. After wait_for_previous_kernel(),
/// else the next one runs beside the previous too: then what it does before it waits must be free
/// of both.
__device__ __forceinline__ void start_next_kernel() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

struct LaunchShape {
  unsigned blocks;
  unsigned threads;
  size_t shared_bytes;
};

/// Launches a kernel that calls wait_for_previous_kernel(); `early` allows it to start early.
template <typename... Parameters, typename... Arguments>
cudaError_t launch_dependent(void (*kernel)(Parameters...), const LaunchShape& shape, bool early,
                             cudaStream_t stream, Arguments&&... arguments) {
  cudaLaunchAttribute attribute = {};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(shape.blocks);
  config.blockDim = dim3(shape.threads);
  config.dynamicSmemBytes = shape.shared_bytes;
  config.stream = stream;
  config.attrs = &attribute;
  config.numAttrs = early ? 1 : 0;
  return cudaLaunchKernelEx(&config, kernel, arguments...);
}

}  // namespace slice::kernels::detail
