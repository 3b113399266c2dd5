#pragma once

#include <cuda_runtime_api.h>

#include "cuda/detail/decode_attention_arguments.cuh"

namespace slice::kernels::detail {

/// Query heads that a warp has at a time where decode_attention_ring.cu is the faster way, else 0.
int attention_ring_heads(const DecodeAttention& attention, int multiprocessors);

/// decode_attention by warps, each with a ring of copies, on compute capability 9.0. The head size is
/// a multiple of 8, keys and values start at multiples of 16 bytes, splits is 1.
/// @param T  __half or __nv_bfloat16
template <typename T>
cudaError_t launch_attention_ring(const AttentionArguments<T>& arguments,
                                  const DecodeAttention& attention, int multiprocessors, int heads,
                                  cudaStream_t stream);

}  // namespace slice::kernels::detail
