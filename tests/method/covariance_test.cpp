#include "libslice/method/covariance.h"

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

TEST_CASE("the covariance is the sum of xᵀx over all tokens") {
  for (const at::ScalarType dtype : {at::kDouble, at::kFloat, at::kHalf, at::kBFloat16}) {
    CAPTURE(c10::toString(dtype));
    const Tensor z = gaussian({3, 50, 21}, 1, dtype);
    Covariance covariance(21);
    covariance.accumulate(z);
    covariance.accumulate(z[0][0]);  // one token
    const Tensor rows =
        at::cat({z.to(at::kDouble).view({150, 21}), z[0][0].to(at::kDouble).unsqueeze(0)});
    const Tensor C = covariance.matrix(), size = rows.t().abs().mm(rows.abs());
    CHECK(violation(C, rows.t().mm(rows), sum_bound(size, 151, at::kDouble)) == "");
    CHECK(bit_difference(C, C.t()) == "");
    CHECK(covariance.tokens() == 151);
  }
}

TEST_CASE("chunk sizes never change a bit of the covariance") {
  const int64_t n = 3 * 4096 + 37;
  for (const at::ScalarType dtype : {at::kDouble, at::kFloat, at::kBFloat16}) {
    for (const int64_t D :
         {33, 201}) {  // odd: pieces begin anywhere; beyond one panel of the product
      const Tensor z = gaussian({n, D}, 2, dtype);
      Covariance whole(D);
      whole.accumulate(z);
      const Tensor want = whole.matrix();
      for (const int64_t piece : {1009, 4095, 4096, 4097, 8191}) {
        CAPTURE(c10::toString(dtype), D, piece);
        Covariance pieces(D);
        for (int64_t begin = 0; begin < n; begin += piece) {
          pieces.accumulate(z.slice(0, begin, std::min(begin + piece, n)));
        }
        CHECK(bit_difference(pieces.matrix(), want) == "");
      }
      Covariance strided(D);  // the first columns of a wider buffer, as a sliced signal has them
      strided.accumulate(at::cat({z, z}, 1).slice(1, 0, D));
      CHECK(bit_difference(strided.matrix(), want) == "");
    }
  }
}

TEST_CASE("tokens count their weights, and equal weights change no bit") {
  const int64_t n = 5000, D = 9;  // more than a block, and not whole ones
  for (const at::ScalarType dtype : {at::kDouble, at::kFloat, at::kBFloat16}) {
    CAPTURE(c10::toString(dtype));
    const double weights[] = {3, 0.3, 3, 7};
    Covariance covariance(D), plain(D), even(D);
    Tensor want = at::zeros({D, D}, at::kDouble), size = want.clone();
    double tokens = 0;
    for (int part = 0; part < 4; ++part) {
      const Tensor z = gaussian({n, D}, 1 + part, dtype), rows = z.to(at::kDouble);
      covariance.set_weight(weights[part]);
      covariance.accumulate(z);
      want += weights[part] * rows.t().mm(rows);
      size += weights[part] * rows.t().abs().mm(rows.abs());
      tokens += weights[part] * n;
      plain.accumulate(z);
      even.set_weight(1);
      even.accumulate(z);
    }
    // Scaled at three changes of the weight and at the end.
    CHECK(violation(covariance.matrix(), want, sum_bound(size, 4 * n + 8, at::kDouble)) == "");
    CHECK(covariance.tokens() == Catch::Approx(tokens).epsilon(1e-14));
    CHECK(bit_difference(even.matrix(), plain.matrix()) == "");
  }
  CHECK_THROWS_NAMING(Covariance(3).set_weight(0), ArgumentError, "weight");
}

TEST_CASE("asking for the matrix early changes nothing that follows") {
  const Tensor z = gaussian({100, 5}, 3);
  Covariance once(5), twice(5);
  once.accumulate(z);
  twice.accumulate(z.slice(0, 0, 40));
  const Tensor early = twice.matrix(), kept = early.clone();
  twice.accumulate(z.slice(0, 40));
  CHECK(bit_difference(twice.matrix(), once.matrix()) == "");
  CHECK(bit_difference(early, kept) == "");
}

TEST_CASE("a signal without tokens has a zero covariance") {
  Covariance covariance(4);
  CHECK(bit_difference(covariance.matrix(), at::zeros({4, 4}, at::kDouble)) == "");
  covariance.accumulate(at::empty({2, 0, 4}));
  CHECK(bit_difference(covariance.matrix(), at::zeros({4, 4}, at::kDouble)) == "");
  CHECK(covariance.tokens() == 0);
}

TEST_CASE("covariances refuse wrong widths, integers and signals that are not finite") {
  CHECK_THROWS_NAMING(Covariance(0), ArgumentError, "width");
  Covariance covariance(4);
  CHECK_THROWS_NAMING(covariance.accumulate(at::ones({2, 5})), ShapeError, "(2, 5)");
  CHECK_THROWS_NAMING(covariance.accumulate(at::ones({2, 4}, at::kLong)), DtypeError, "Long");
  for (const double value :
       {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    Covariance spoilt(4);
    spoilt.accumulate(at::full({1, 4}, value, at::kDouble));
    CHECK_THROWS_NAMING(spoilt.matrix(), NumericError, "covariance");
  }
}

}  // namespace
}  // namespace slice
