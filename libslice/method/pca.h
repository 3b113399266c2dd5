#pragma once

#include <ATen/core/Tensor.h>

namespace slice {

struct PcaBasis {
  at::Tensor values;   ///< (D) float64, descending; tiny negative ones are set to 0
  at::Tensor vectors;  ///< (D, D) float64, orthonormal; column j is direction j, sign arbitrary

  /// The first k directions, P (D, k), contiguous. @throws ArgumentError  k out of range
  at::Tensor leading(int64_t k) const;
  /// Share of the variance that the first k directions keep: Σ_{j<k} λ_j / Σ λ_j, in [0, 1]; 1 of a
  /// zero signal.
  double kept_variance(int64_t k) const;
};

/// Principal directions of accumulated activations, largest variance first.
///
///   C = Q diag(λ) Qᵀ,   QᵀQ = I,   λ₀ ≥ λ₁ ≥ …     (SliceGPT §3.3, eq. 7; the reference's
///   rotate.py)
///
/// @param C  (D, D) float64, symmetric, any device; unscaled sum of xᵀx over tokens (row vectors).
///           Not modified.
/// @return   values and vectors, float64, on C's device
/// @throws ShapeError    C is not square     @throws DtypeError  C is not float64
/// @throws NumericError  C holds a NaN or Inf, or the solver did not converge, or what it gave is no
///                       such basis (check_basis)
/// Cost: one symmetric eigensolve, O(D³), 2·D² doubles of workspace; on a GPU waits for the CUDA
/// stream once.
PcaBasis pca_basis(const at::Tensor& C);

/// Checks a decomposition on one vector v, whose entries are fixed and all different:
///
///   ‖Q Qᵀv − v‖ ≤ ε ‖v‖,   ‖C v − Q diag(λ) Qᵀv‖ ≤ ε λ₀ ‖v‖,   ε = 1000·D·2⁻⁵³
///
/// which a wrong direction or value does not pass but where v happens to be orthogonal to it.
/// @throws NumericError  it is not C's        Cost: three products of a matrix and a vector, O(D²).
void check_basis(const at::Tensor& C, const PcaBasis& basis);

}  // namespace slice
