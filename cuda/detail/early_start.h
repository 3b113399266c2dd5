#pragma once

#include <cuda_runtime_api.h>

namespace slice::kernels::detail {

/// Whether kernels on the current device may start before the previous one has ended.
inline bool can_start_early() {
  int device = 0, major = 0;
  return cudaGetDevice(&device) == cudaSuccess &&
         cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) == cudaSuccess &&
         major >= 9;
}

}  // namespace slice::kernels::detail
