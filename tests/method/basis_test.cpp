#include "libslice/method/basis.h"

#include <ATen/ATen.h>

#include <catch2/catch_all.hpp>
#include <limits>

#include "libslice/base/error.h"
#include "libslice/method/pca.h"
#include "tests/support/error_bounds.h"
#include "tests/support/matchers.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

using at::Tensor;
using namespace tests;

/// A symmetric matrix whose eigenvalues fall as 1/i^power, each off by a random factor.
Tensor random_spectrum(int64_t D, double power, uint64_t seed) {
  const Tensor values = at::arange(1, D + 1, at::kDouble).pow(-power) * gaussian({D}, seed).exp();
  const Tensor Q = orthonormal(D, D, seed + 1);
  const Tensor C = (Q * values).mm(Q.t());
  return (C + C.t()) / 2;
}

Tensor projector(const Tensor& P) { return P.mm(P.t()); }

void check_orthonormal(const Tensor& P) {
  CHECK(violation(P.t().mm(P), at::eye(P.size(1), P.options()), eigen_bound(P.size(0))) == "");
}

/// tr((Uᵀ C U)(Uᵀ Γ U)) of the directions U that P leaves out = tr(C (I − PPᵀ) Γ (I − PPᵀ)).
double damage(const Tensor& P, const Tensor& C, const Tensor& gamma) {
  const Tensor rest = at::eye(P.size(0), P.options()) - projector(P);
  return rest.mm(C).mm(rest).mm(rest.mm(gamma).mm(rest)).trace().item<double>();
}

double best_of_grid(const Tensor& C, const Tensor& gamma, int64_t k) {
  const Tensor c = C / C.trace(), g = gamma / gamma.trace();
  double best = std::numeric_limits<double>::infinity();
  for (const double tau : {0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0}) {
    best = std::min(best, damage(pca_basis(tau * c + g / tau).leading(k), C, gamma));
  }
  return best;
}

TEST_CASE("an output-aware basis is orthonormal and does not change its arguments") {
  OutputAwareBasis basis;
  for (const int64_t k : {1, 13, 29, 30}) {
    const Tensor C = random_spectrum(30, 1, 1), gamma = random_spectrum(30, 1, 2);
    const Tensor C_before = C.clone(), gamma_before = gamma.clone();
    const Tensor P = basis(C, gamma, k);
    CHECK(P.sizes() == at::IntArrayRef({30, k}));
    check_orthonormal(P);
    CHECK(bit_difference(C, C_before) == "");
    CHECK(bit_difference(gamma, gamma_before) == "");
  }
}

TEST_CASE("where the loss feels every direction alike the basis is the principal one") {
  const Tensor C = random_spectrum(20, 2, 3);
  const PcaBasis pca = pca_basis(C);
  for (const int64_t k : {3, 11, 19}) {
    const double gap = (pca.values[k - 1] - pca.values[k]).item<double>();
    CAPTURE(k, gap);
    const Tensor P = OutputAwareBasis()(C, 7 * at::eye(20, at::kDouble), k);
    // Solved is τ C / tr C + I / (20 τ), whatever τ ≥ 0.1: its norm, over τ / tr C, as its gap.
    const double norm = (pca.values[0] + 5 * C.trace()).item<double>();
    CHECK(violation(projector(P), projector(pca.leading(k)), subspace_bound(20, norm, gap)) == "");
  }
}

TEST_CASE("a loud direction that the loss does not feel is left out") {
  // Coordinate 0 carries most and is not felt; 1 … 3 matter; the rest hardly do.
  const Tensor carried = at::tensor({3.0, 2.0, 2.1, 2.2, 0.1, 0.1, 0.1}, at::kDouble);
  const Tensor felt = at::tensor({0.0, 2.0, 2.2, 2.1, 0.1, 0.1, 0.1}, at::kDouble);
  const Tensor P = OutputAwareBasis()(at::diag(carried), at::diag(felt), 3);
  const Tensor want = at::diag(at::tensor({0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0}, at::kDouble));
  CHECK(violation(projector(P), want, subspace_bound(7, 1, 0.01)) == "");  // the gap is wider
}

TEST_CASE("the search of τ does no more damage than a grid of seven, site after site") {
  for (const auto& [power, effect_power] : {std::pair{1.0, 1.0}, {2.0, 0.5}, {0.5, 2.0}}) {
    OutputAwareBasis basis;  // hands τ on from site to site
    for (uint64_t site = 0; site < 8; ++site) {
      const Tensor C = 1e5 * random_spectrum(40, power, 10 * site + 1),
                   gamma = 1e-3 * random_spectrum(40, effect_power, 10 * site + 5);
      const int64_t k = site % 2 == 0 ? 30 : 22;
      CAPTURE(power, effect_power, site);
      const double grid = best_of_grid(C, gamma, k), found = damage(basis(C, gamma, k), C, gamma);
      CHECK(found <= 1.05 * grid);
    }
  }
}

TEST_CASE("without a gradient, and without a signal, the basis is the principal one") {
  const Tensor C = random_spectrum(12, 1, 3), zero = at::zeros({12, 12}, at::kDouble);
  CHECK(bit_difference(OutputAwareBasis()(C, zero, 5), pca_basis(C).leading(5)) == "");
  check_orthonormal(OutputAwareBasis()(zero, C, 5));
  check_orthonormal(OutputAwareBasis()(zero, zero, 5));
}

TEST_CASE("a gradient of low rank leaves a whole basis") {
  const Tensor u = gaussian({12, 1}, 1), C = random_spectrum(12, 1, 3);
  check_orthonormal(OutputAwareBasis()(C, u.mm(u.t()), 5));
  check_orthonormal(OutputAwareBasis()(u.mm(u.t()), C, 5));
  check_orthonormal(OutputAwareBasis()(u.mm(u.t()), u.mm(u.t()), 5));
}

TEST_CASE("directions that hold nothing gave τ = √(0/0), and a covariance that holds a NaN") {
  const Tensor C = at::diag(at::tensor({3.0, 0.0, 0.0, 0.0}, at::kDouble)),
               gamma = at::diag(at::tensor({0.0, 2.0, 0.0, 0.0}, at::kDouble));
  const Tensor want = at::diag(at::tensor({1.0, 1.0, 0.0, 0.0}, at::kDouble));
  OutputAwareBasis basis;  // hands τ on from site to site
  for (int site = 0; site < 3; ++site) {
    const Tensor P = basis(C, gamma, 2);
    check_orthonormal(P);
    CHECK(violation(projector(P), want, eigen_bound(4)) == "");
  }
}

TEST_CASE("fewer tokens than dimensions ended now and then with a covariance that holds a NaN") {
  for (const int64_t D : {32, 128}) {
    OutputAwareBasis handed_on;  // from seed to seed
    for (int64_t seed = 1; seed <= (D == 32 ? 150 : 30); ++seed) {
      const int64_t tokens = seed % 3 == 0 ? D / 4 : seed % 2 + 1;
      CAPTURE(D, seed, tokens);
      const auto one = static_cast<uint64_t>(2 * seed);
      const Tensor X = gaussian({tokens, D}, one), Y = gaussian({D, D}, one + 1);
      const Tensor C = X.t().mm(X), gamma = Y.t().mm(Y);
      for (const int64_t k : {D / 2, D - D / 10}) {
        OutputAwareBasis first;
        Tensor P;
        REQUIRE_NOTHROW(P = first(C, gamma, k));
        const Tensor errors = P.t().mm(P) - at::eye(k, P.options());
        CHECK(errors.abs().max().item<double>() <= eigen_bound(D));
        REQUIRE_NOTHROW(seed % 2 == 0 ? handed_on(C, gamma, k) : handed_on(gamma, C, k));
      }
    }
  }
}

TEST_CASE("output-aware bases refuse sizes that differ and numbers that are not finite") {
  const Tensor C = random_spectrum(6, 1, 3);
  CHECK_THROWS_NAMING(OutputAwareBasis()(C, at::eye(5, at::kDouble), 3), ShapeError, "(5, 5)");
  CHECK_THROWS_AS(OutputAwareBasis()(C, C, 7), ArgumentError);
  const Tensor nan = at::full({6, 6}, std::numeric_limits<double>::quiet_NaN(), at::kDouble);
  CHECK_THROWS_AS(OutputAwareBasis()(nan, C, 3), NumericError);
  CHECK_THROWS_AS(OutputAwareBasis()(C, nan, 3), NumericError);
}

/// S (SᵀS)^−½: the eigenproblem of SᵀS is solved to eigen_bound of ‖S‖², which the inverse root
/// amplifies by κ(S)².
double polar_bound(const Tensor& S) {
  return at::linalg_cond(S).square().item<double>() * eigen_bound(S.size(0));
}

TEST_CASE("the polar factor is the orthogonal matrix next to its argument") {
  for (const int64_t k : {1, 2, 17, 64}) {
    CAPTURE(k);
    const Tensor S = gaussian({k, k}, 1), R = polar_factor(S);
    check_orthonormal(R);
    // RᵀS is symmetric and not negative: that is what makes R the nearest.
    const Tensor H = R.t().mm(S);
    const double bound = 2 * polar_bound(S) * S.norm().item<double>();
    REQUIRE(bound < 1e-2);
    CHECK(violation(H, H.t(), bound) == "");
    CHECK(at::linalg_eigvalsh((H + H.t()) / 2).min().item<double>() > -bound);
    for (uint64_t seed = 2; seed < 12; ++seed) {
      CHECK((S - R).norm().item<double>() <=
            (S - orthonormal(k, k, seed)).norm().item<double>() + bound);
    }
  }
}

TEST_CASE(
    "the polar factor of a symmetric positive matrix is the identity, of an orthogonal one "
    "itself") {
  const Tensor C = random_spectrum(15, 1, 2);
  REQUIRE(polar_bound(C) < 1e-4);
  CHECK(violation(polar_factor(C), at::eye(15, at::kDouble), polar_bound(C)) == "");
  const Tensor Q = orthonormal(15, 15, 3);
  CHECK(violation(polar_factor(Q), Q, polar_bound(Q)) == "");
}

TEST_CASE("the polar factor of a singular matrix is orthogonal all the same") {
  const Tensor A = orthonormal(20, 14, 1), B = orthonormal(20, 14, 2);
  const Tensor S = A.mm(B.t());  // rank 14 of 20: its other directions may go anywhere
  const Tensor R = polar_factor(S);
  check_orthonormal(R);
  // S is orthogonal where it is not zero: κ = 1, and A and B are rounded as R is.
  CHECK(violation(A.t().mm(R).mm(B), at::eye(14, at::kDouble), 3 * eigen_bound(20)) == "");
  check_orthonormal(polar_factor(at::zeros({5, 5}, at::kDouble)));
  for (const double small : {1e-5, 1e-7, 1e-9, 1e-12}) {
    CAPTURE(small);
    const Tensor left = orthonormal(6, 6, 3), right = orthonormal(6, 6, 4);
    Tensor values = at::ones({6}, at::kDouble);
    values[5] = small;
    check_orthonormal(polar_factor((left * values).mm(right.t())));
  }
}

TEST_CASE("an extended basis is whole and begins with the columns it was given") {
  const Tensor Q = orthonormal(21, 21, 5);
  for (const int64_t k : {1, 13, 20, 21}) {
    CAPTURE(k);
    const Tensor P = Q.slice(1, 0, k).contiguous(), whole = extended_basis(P);
    CHECK(whole.sizes() == at::IntArrayRef({21, 21}));
    check_orthonormal(whole);
    CHECK(bit_difference(whole.slice(1, 0, k), P) == "");
  }
}

}  // namespace
}  // namespace slice
