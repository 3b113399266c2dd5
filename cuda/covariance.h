#pragma once

#include <cublas_v2.h>
#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "cuda/data_type.h"

namespace slice::kernels {

/// Sums run over blocks of this many tokens from a signal's first token on (docs/method.md,
/// "Precision").
inline constexpr int64_t kCovarianceBlockTokens = 4096;

/// Bytes of device workspace for one accumulate_covariance call of any length (0 for float64).
size_t covariance_workspace_bytes(DataType type, int64_t d);

/// Adds the tokens [first_token, first_token + tokens) of a signal to its covariance.
///
///   C ← C + zᵀ z   on and below the diagonal   (docs/method.md, "Slicing": uncentred, unscaled)
///
/// Each block of kCovarianceBlockTokens is one sum, added to the float64 master in token order, so
/// the bits of C do not depend on how a signal is cut into calls. The cut must fall between blocks:
/// `first_token` says how many tokens went before, and one that is not a multiple of the block is
/// refused. Only a signal's last call may end inside a block.
///
/// float16, bfloat16: exact products, summed in float32 within a block, then added in float64.
/// float32, float64: all in float64 (no TF32).
///
/// @param C            (d, d) float64, contiguous, zeroed by the caller before the first call; what
///                     is above the diagonal is unspecified until mirror_covariance.
/// @param z            (tokens, d), rows `row_stride` ≥ d elements apart (below 2³¹).
/// @param workspace    covariance_workspace_bytes(type, d) bytes, 16-byte aligned, overwritten.
/// @param handle       gives the stream; its math and pointer modes are put back after the call.
/// @return             INVALID_VALUE for bad arguments, EXECUTION_FAILED if a kernel did not start.
///
/// Bitwise repeatable on one GPU model and cuBLAS version. Cost: tokens·d² flop and the panels'
/// share above the diagonal; does not wait.
cublasStatus_t accumulate_covariance(double* C, const void* z, DataType type, int64_t first_token,
                                     int64_t tokens, int64_t d, int64_t row_stride, void* workspace,
                                     size_t workspace_bytes, cublasHandle_t handle);

/// Copies what is below the diagonal of C (d, d) above it: once, after the last addition.
cudaError_t mirror_covariance(double* C, int64_t d, cudaStream_t stream);

}  // namespace slice::kernels
