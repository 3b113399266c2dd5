#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

/// The numerical steps that have kernels of our own. CPU tensors go to LibTorch, CUDA tensors to
/// ops_cuda.cpp. All inputs of a call are on one device.
namespace slice::ops {

/// x · rsqrt(Σ x² / D + eps) over the last dimension.   (docs/method.md, "Slicing"; SliceGPT §3.2)
///
/// @param x  (…, k) floating point; a sliced x has k ≤ D coordinates, deleted ones count as zero
/// @param D  the hidden size of the unsliced model: the divisor
/// @return   (…, k), x's dtype. Sums in float32, for float64 x in float64. Differentiable on the
///           CPU.
/// @throws ShapeError  D < 1 or k > D      @throws DtypeError  x is not floating point
at::Tensor rms_norm(const at::Tensor& x, int64_t D, double eps);

/// x Wᵀ + r: the rotated shortcut and the addition after it, one matrix product.
///
/// @param x  (…, k_in)   @param W  (k_out, k_in)   @param r  (…, k_out)      one dtype
/// @return   (…, k_out). @throws ShapeError, DtypeError
at::Tensor rotated_add(const at::Tensor& x, const at::Tensor& W, const at::Tensor& r);

/// Tokens whose products are summed together before they are added to a float64 covariance.
inline constexpr int64_t kCovarianceBlock = 4096;

/// C += zᵀ z on and below the diagonal; above it C is undefined until `mirror_lower`.
///
/// @param C          (D, D) float64, contiguous, changed in place
/// @param z          (n, D) any floating dtype, row vectors. Products of float32 and float64 are
///                   exact to float64; of half precision, sums run in float32 over the n rows.
/// @param workspace  of covariance_workspace for this C and z's dtype; allocated here when absent.
///                   With one, and rows of unit stride, nothing is allocated on a device.
/// @throws ShapeError, DtypeError
/// Cost: n·D² flop, half of the full product.
void accumulate_covariance(at::Tensor& C, const at::Tensor& z, const at::Tensor& workspace = {});
/// Scratch memory of accumulate_covariance, for callers that must allocate it before they change
/// anything: bytes on C's device, undefined on the CPU.
at::Tensor covariance_workspace(const at::Tensor& C, at::ScalarType dtype);

/// Copies the lower triangle of C (D, D) to the upper one, in place.
void mirror_lower(at::Tensor& C);

struct Eigen {
  at::Tensor values;   ///< (D) float64, ascending
  at::Tensor vectors;  ///< (D, D) float64, column j belongs to value j
};

/// Eigendecomposition of a symmetric float64 matrix, whose lower triangle is read: LAPACK on the
/// CPU, cuSOLVER on a GPU. C is not modified.
/// @throws ShapeError, DtypeError      @throws NumericError  the solver did not converge
Eigen symmetric_eigen(const at::Tensor& C);

}  // namespace slice::ops
