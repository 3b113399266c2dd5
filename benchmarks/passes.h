#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "cuda/data_type.h"

namespace slice::bench {

/// Fills with uniform numbers in [−1, 1): zeros would run faster than real data.
cudaError_t fill_uniform(void* data, kernels::DataType type, int64_t count, uint64_t seed,
                         cudaStream_t stream);

/// Reads `bytes` (a multiple of 16) once; `sink` (4 bytes) keeps the compiler honest.
cudaError_t read_pass(void* sink, const void* data, int64_t bytes, cudaStream_t stream);

}  // namespace slice::bench
