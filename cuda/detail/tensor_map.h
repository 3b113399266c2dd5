#pragma once

#include <cuda.h>
#include <cuda_runtime_api.h>

#include <cstdint>

#include "cuda/data_type.h"

namespace slice::kernels::detail {

/// A matrix as copy_box() sees it: boxes of 64 columns and `box_rows` rows, swizzled by 128 bytes,
/// zeros past its ends.
/// @param matrix  float16 or bfloat16, starts at a multiple of 16 bytes, as do its rows
/// @param stride  of its rows, in elements
/// @return  cudaErrorNotSupported where the driver has no such maps
cudaError_t map_tensor(CUtensorMap& map, const void* matrix, DataType type, int64_t rows,
                       int64_t columns, int64_t stride, int box_rows);

}  // namespace slice::kernels::detail
