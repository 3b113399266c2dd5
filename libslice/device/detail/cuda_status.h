#pragma once

#include <c10/util/Exception.h>
#include <cuda_runtime_api.h>

#include "libslice/base/detail/check.h"

namespace slice::ops::on_device {

/// Turns a status of the runtime or of a launcher into an exception and clears the sticky error.
inline void check(cudaError_t status, const char* call) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // the next call would report a sticky error again
  if (status == cudaErrorMemoryAllocation)
    C10_THROW_ERROR(OutOfMemoryError, detail::formatted("{}: out of memory", call));
  throw CudaError(detail::formatted("{}: {}", call, cudaGetErrorString(status)));
}

}  // namespace slice::ops::on_device
