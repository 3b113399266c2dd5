#pragma once

#include <ATen/core/Tensor.h>

namespace slice {

/// Finds which directions of a site to keep, by what they carry and by what the loss feels.
///
/// The deleted directions U minimise  tr((Uᵀ C U)(Uᵀ Γ U)),  C the signal's covariance and Γ the
/// gradient's, both divided by their traces, over the family of bottom eigenvectors of τ C + Γ / τ
/// (mathematics §5b.1). Were the two factors numbers, their product tr(UᵀCU)·tr(UᵀΓU) would be
/// least where τ² = tr(UᵀΓU) / tr(UᵀCU): that is iterated, from the τ of the site before, and the
/// best of what was met is taken. Within a tenth of the best of a grid of seven (`basis_test.cpp`).
class OutputAwareBasis {
 public:
  /// @param C  (D, D) float64     @param gamma  (D, D) float64, same device
  /// @return   P (D, k) float64, orthonormal columns, in no particular gauge
  /// @throws ShapeError, NumericError  as pca_basis.   Cost: three eigensolves at most,
  /// seven at the first site.
  at::Tensor operator()(const at::Tensor& C, const at::Tensor& gamma, int64_t k);

 private:
  double tau_ = 1.0;
  bool first_ = true;
};

/// The orthogonal k × k matrix next to S (k, k) float64: U Vᵀ of S = U Σ Vᵀ. Singular values of
/// zero leave their directions in an arbitrary orthogonal gauge.
///
/// P' R with R = polar(P'ᵀ P) is the basis of P''s span that lies next to P: the shortcut between
/// the two is as near to the identity as a gauge can bring it. (mathematics §5, chained)
at::Tensor polar_factor(const at::Tensor& S);

/// Columns that extend P (D, k), orthonormal, to a whole basis: (D, D), its first k columns P.
at::Tensor extended_basis(const at::Tensor& P);

}  // namespace slice
