#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

namespace slice {

/// Chooses the directions of a site to keep, by their variance and by the loss's gradient.
///
/// The deleted directions U minimise  tr((Uᵀ C U)(Uᵀ Γ U)),  C the signal's covariance and Γ the
/// gradient's, both divided by their traces, over the family of bottom eigenvectors of τ C + Γ / τ
/// (docs/method.md, "Output-aware directions"). If the two factors were numbers, their product
/// tr(UᵀCU)·tr(UᵀΓU) would be least where τ² = tr(UᵀΓU) / tr(UᵀCU): that is iterated, starting with
/// the τ of the site before and staying within [1e-6, 1e6], and the best basis tried is taken.
/// Within a tenth of the best of a grid of seven (`basis_test.cpp`). C and Γ may be of any rank.
class OutputAwareBasis {
 public:
  /// @param tau  of the site before; absent: the next site is the first, and a grid is tried
  explicit OutputAwareBasis(std::optional<double> tau = std::nullopt) : tau_(tau) {}
  /// That of the last site; absent before the first.
  std::optional<double> tau() const { return tau_; }

  /// @param C  (D, D) float64     @param gamma  (D, D) float64, same device
  /// @return   P (D, k) float64, orthonormal columns, in no particular gauge
  /// @throws ShapeError, ArgumentError, NumericError  as pca_basis and PcaBasis::leading
  /// Cost: three eigensolves at most, seven at the first site.
  at::Tensor operator()(const at::Tensor& C, const at::Tensor& gamma, int64_t k);

 private:
  std::optional<double> tau_;
};

/// The orthogonal k × k matrix nearest to S (k, k) float64: U Vᵀ of S = U Σ Vᵀ. Directions of zero
/// singular values are in an arbitrary orthogonal gauge.
///
/// P' R with R = polar(P'ᵀ P) is the basis of the span of P' nearest to P: the shortcut between the
/// two is as near to the identity as a gauge can bring it. (docs/method.md, "Shortcuts")
at::Tensor polar_factor(const at::Tensor& S);

/// P (D, k), orthonormal, extended to a whole basis: (D, D), its first k columns P.
at::Tensor extended_basis(const at::Tensor& P);

}  // namespace slice
