#include "libslice/method/basis.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/tensor_text.h"
#include "libslice/method/pca.h"

namespace slice {

using at::Tensor;

namespace {

constexpr int kSolves = 3;
constexpr double kGrid[] = {0.1, 1, 10, 100};  // τ at the first site
constexpr double kSettled = 0.02;              // relative change of τ below which it is settled
// Beyond these 1/τ² or τ² comes near the rounding of float64, and C or Γ is lost in the other's.
constexpr double kLeastTau = 1e-6, kMostTau = 1e6;

double trace_of(const Tensor& X) { return X.diagonal().sum().item<double>(); }

/// The τ that traces ask for. Directions that hold nothing, as with fewer tokens than dimensions,
/// have traces that are rounding of either sign; where both do, τ is as good as any.
double asked_tau(double seen, double lost, double tau) {
  seen = std::max(seen, 0.0);
  lost = std::max(lost, 0.0);
  if (seen == 0 && lost == 0) return tau;
  return std::sqrt(std::clamp(seen / lost, kLeastTau * kLeastTau, kMostTau * kMostTau));
}

}  // namespace

Tensor OutputAwareBasis::operator()(const Tensor& C, const Tensor& gamma, int64_t k) {
  SLICE_CHECK(C.sizes() == gamma.sizes(), "basis: want Γ of C's size {}, got {}",
              detail::describe(C), detail::describe(gamma));
  const double signal = trace_of(C), effect = trace_of(gamma);
  SLICE_CHECK_AS(NumericError, std::isfinite(effect), "basis: a NaN or Inf in Γ {}",
                 detail::describe(gamma));
  if (!(signal > 0) || !(effect > 0) || k == C.size(0)) return pca_basis(C).leading(k);
  const Tensor c = C / signal, g = gamma / effect;
  const bool first = !tau_;
  double least = std::numeric_limits<double>::infinity(), next = tau_.value_or(1);
  Tensor kept;
  // Solves for one τ, keeps the best basis so far, and returns the τ that its traces ask for.
  const auto solve = [&](double tau) {
    const PcaBasis family = pca_basis(tau * c + g / tau);
    const Tensor U = family.vectors.slice(1, k);  // (D, D − k)
    const Tensor lost = U.t().mm(c.mm(U)), seen = U.t().mm(g.mm(U));
    const double cost = (lost * seen).sum().item<double>();  // both are symmetric
    const double asked = asked_tau(trace_of(seen), trace_of(lost), tau);
    if (cost < least) {
      least = cost;
      tau_ = tau;
      kept = family.leading(k);
      next = asked;
    }
    return asked;
  };
  if (first) {
    for (const double tau : kGrid) solve(tau);
  }
  for (int step = 0; step < kSolves; ++step) {
    const double tau = next;
    next = solve(tau);
    if (std::abs(next / tau - 1) < kSettled) break;
  }
  return kept;
}

Tensor polar_factor(const Tensor& S) {
  // LAPACK's divide-and-conquer SVD can fail here, where hundreds of singular values are one:
  // U = S V Σ⁻¹ by an eigensolve of SᵀS, then Newton–Schulz steps remove the rounding. Directions
  // that S maps to zero are matched with those outside its range.
  constexpr double kSmallest = 1e-12;  // of σ², relative
  constexpr int kSteps = 2;
  const PcaBasis squares = pca_basis(S.t().mm(S));  // largest first
  const double least = kSmallest * squares.values[0].item<double>();
  const auto rank = (squares.values > least).sum().item<int64_t>();
  if (rank == 0) return at::eye(S.size(0), S.options());
  Tensor U = S.mm(squares.leading(rank) * squares.values.slice(0, 0, rank).rsqrt());  // (k, rank)
  for (int step = 0; step < kSteps; ++step) U = 1.5 * U - 0.5 * U.mm(U.t().mm(U));
  return extended_basis(U).mm(squares.vectors.t());
}

Tensor extended_basis(const Tensor& P) {
  const int64_t D = P.size(0), k = P.size(1);
  if (k == D) return P;
  // The projector onto what P leaves out has eigenvalues 0 (k times) and 1: the top D − k.
  const Tensor rest = at::eye(D, P.options()) - P.mm(P.t());
  return at::cat({P, pca_basis(rest).leading(D - k)}, 1);
}

}  // namespace slice
