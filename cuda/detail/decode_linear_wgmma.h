#pragma once

#include <cuda_runtime_api.h>

#include "cuda/detail/decode_linear.cuh"

namespace slice::kernels::detail {

/// decode_linear by warpgroups, on compute capability 9.0. X, W, Z and V start at multiples of 16
/// bytes, as do their rows; K > 0.    @return  cudaErrorNotSupported where the driver has no
/// tensor maps
template <typename T>
cudaError_t launch_wgmma(const DecodeLinearOperands<T>& operands, int multiprocessors, bool early,
                         cudaStream_t stream);

/// Whether warpgroups are the faster way for any M, few as well: they fill the device at one time. A
/// function of N, K and K2 alone.
template <typename T>
bool fills_with_warpgroups(const DecodeLinearOperands<T>& operands, int multiprocessors);

}  // namespace slice::kernels::detail
