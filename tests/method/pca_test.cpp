#include "libslice/method/pca.h"

#include <ATen/ATen.h>

#include <catch2/catch_all.hpp>
#include <limits>

#include "libslice/base/error.h"
#include "tests/support/error_bounds.h"
#include "tests/support/matchers.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

using at::Tensor;
using namespace tests;

TEST_CASE("principal directions satisfy CQ = QΛ and QᵀQ = I, largest first") {
  for (const int64_t D : {1, 2, 31, 100}) {
    CAPTURE(D);
    const Tensor z = gaussian({2 * D, D}, 1), C = z.t().mm(z), before = C.clone();
    const PcaBasis basis = pca_basis(C);
    const double bound = eigen_bound(D), largest = basis.values[0].item<double>();
    CHECK(violation(C.mm(basis.vectors), basis.vectors * basis.values, bound * largest) == "");
    CHECK(violation(basis.vectors.t().mm(basis.vectors), at::eye(D, at::kDouble), bound) == "");
    CHECK((basis.values.diff() <= 0).all().item<bool>());
    CHECK(bit_difference(C, before) == "");
  }
}

TEST_CASE("the leading directions of a low-rank signal span it") {
  const Tensor B = orthonormal(30, 5, 1), z = gaussian({200, 5}, 2).mm(B.t());
  const PcaBasis basis = pca_basis(z.t().mm(z));
  const Tensor P = basis.leading(5);
  // z and zᵀz are rounded too: sums of 5 and of 200 terms, within what the solve is allowed.
  const double norm = basis.values[0].item<double>(), gap = basis.values[4].item<double>();
  CHECK(P.is_contiguous());
  CHECK(violation(P.mm(P.t()), B.mm(B.t()), subspace_bound(30, norm, gap)) == "");
  CHECK((basis.values >= 0).all().item<bool>());  // rounding would leave some of the zeros negative
  CHECK(std::abs(basis.kept_variance(5) - 1) < 30 * eigen_bound(30));  // Weyl, 30 values
}

TEST_CASE("kept variance is the share of the largest eigenvalues") {
  const PcaBasis basis = pca_basis(at::diag(at::tensor({1.0, 5.0, 0.0, 4.0}, at::kDouble)));
  CHECK(basis.kept_variance(1) == Catch::Approx(0.5));
  CHECK(basis.kept_variance(2) == Catch::Approx(0.9));
  CHECK(basis.kept_variance(4) == 1.0);
  CHECK(pca_basis(at::zeros({3, 3}, at::kDouble)).kept_variance(1) == 1.0);
}

TEST_CASE("a basis that is not orthonormal, or not C's, is noticed") {
  const Tensor z = gaussian({80, 40}, 1), C = z.t().mm(z);
  const PcaBasis right = pca_basis(C);
  for (const int64_t column : {0, 17, 39}) {
    CAPTURE(column);
    PcaBasis longer = {right.values, right.vectors.clone()};
    longer.vectors.select(1, column).mul_(1 + 1e-9);
    CHECK_THROWS_NAMING(check_basis(C, longer), NumericError, "not orthonormal");
    PcaBasis wrong = {right.values.clone(), right.vectors};
    wrong.values[column] += 1e-9 * right.values[0].item<double>();
    CHECK_THROWS_NAMING(check_basis(C, wrong), NumericError, "is not C");
  }
  PcaBasis other = {right.values, right.vectors.flip(1)};
  CHECK_THROWS_NAMING(check_basis(C, other), NumericError, "is not C");
  other.vectors = at::full_like(right.vectors, std::numeric_limits<double>::quiet_NaN());
  CHECK_THROWS_AS(check_basis(C, other), NumericError);
  CHECK_NOTHROW(
      check_basis(at::zeros({40, 40}, at::kDouble), pca_basis(at::zeros({40, 40}, at::kDouble))));
}

TEST_CASE("bases refuse sizes outside 1 … D") {
  const PcaBasis basis = pca_basis(at::eye(3, at::kDouble));
  CHECK_THROWS_NAMING(basis.leading(0), ArgumentError, "0 < k");
  CHECK_THROWS_NAMING(basis.leading(4), ArgumentError, "got 4");
}

TEST_CASE("principal directions refuse other shapes, dtypes and numbers that are not finite") {
  CHECK_THROWS_NAMING(pca_basis(at::ones({2, 3}, at::kDouble)), ShapeError, "(2, 3)");
  CHECK_THROWS_NAMING(pca_basis(at::ones({2, 2})), DtypeError, "float32");
  CHECK_THROWS_NAMING(
      pca_basis(at::full({2, 2}, std::numeric_limits<double>::quiet_NaN(), at::kDouble)),
      NumericError, "covariance");
}

}  // namespace
}  // namespace slice
