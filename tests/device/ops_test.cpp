#include "libslice/device/ops.h"

#include <ATen/ATen.h>

#include <catch2/catch_all.hpp>

#include "benchmarks/shapes.h"
#include "libslice/base/error.h"
#include "tests/support/error_bounds.h"
#include "tests/support/matchers.h"
#include "tests/support/reference.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

using at::Tensor;
using namespace tests;

const auto kDtypes = {at::kDouble, at::kFloat, at::kHalf, at::kBFloat16};

TEST_CASE("rms_norm equals the loop for every dtype, row count and sliced width") {
  for (const at::ScalarType dtype : kDtypes) {
    for (const int64_t rows : shapes::kAwkwardRows) {
      for (const int64_t k : shapes::kAwkwardColumns) {
        CAPTURE(c10::toString(dtype), rows, k);
        const int64_t D = k + 17;
        const Tensor x = gaussian({rows, k}, 3, dtype) * 5;
        const Tensor want = rms_norm_reference(x, D, 1e-5);
        CHECK(violation(ops::rms_norm(x, D, 1e-5), want, rms_norm_bound(want, k, dtype)) == "");
        CHECK(ops::rms_norm(x, D, 1e-5).scalar_type() == dtype);
      }
    }
  }
}

TEST_CASE("rms_norm takes strided rows, a single vector and a zero row") {
  const Tensor x = gaussian({5, 40}, 4).slice(1, 3, 23);
  const Tensor want = rms_norm_reference(x, 20, 1e-6),
               bound = rms_norm_bound(want, 20, at::kDouble);
  CHECK(violation(ops::rms_norm(x, 20, 1e-6), want, bound) == "");
  CHECK(violation(ops::rms_norm(x[2], 20, 1e-6), want[2], bound[2]) == "");
  CHECK(bit_difference(ops::rms_norm(at::zeros({2, 4}), 4, 1e-6), at::zeros({2, 4})) == "");
}

TEST_CASE("rms_norm of large half-precision values does not overflow") {
  const Tensor x = at::full({1, 64}, 30000.0, at::kHalf);  // the squares exceed 65504
  CHECK(violation(ops::rms_norm(x, 64, 1e-5), at::ones({1, 64}), 2 * roundoff(at::kHalf)) == "");
}

TEST_CASE("rms_norm refuses a divisor below the width and integers") {
  const Tensor x = at::ones({2, 8});
  CHECK_THROWS_NAMING(ops::rms_norm(x, 7, 1e-5), ShapeError, "(2, 8)");
  CHECK_THROWS_AS(ops::rms_norm(x, 0, 1e-5), ShapeError);
  CHECK_THROWS_AS(ops::rms_norm(at::ones({}), 8, 1e-5), ShapeError);
  CHECK_THROWS_NAMING(ops::rms_norm(x.to(at::kLong), 8, 1e-5), DtypeError, "Long");
}

TEST_CASE("rotated_add equals the float64 product for every dtype and row count") {
  for (const at::ScalarType dtype : kDtypes) {
    for (const int64_t rows : shapes::kAwkwardRows) {
      CAPTURE(c10::toString(dtype), rows);
      const Tensor x = gaussian({rows, 111}, 5, dtype), W = gaussian({75, 111}, 6, dtype) / 10;
      const Tensor r = gaussian({rows, 75}, 7, dtype);
      const Tensor want = x.to(at::kDouble).mm(W.to(at::kDouble).t()) + r.to(at::kDouble);
      CHECK(violation(ops::rotated_add(x, W, r), want, product_bound(want, x, W, r)) == "");
    }
  }
}

TEST_CASE("rotated_add takes batches and strided views, and leaves its inputs alone") {
  const Tensor x = gaussian({2, 3, 30}, 8).slice(2, 0, 10), W = gaussian({10, 6}, 9).t();
  const Tensor r = gaussian({2, 3, 12}, 10).slice(2, 6, 12), before = r.clone();
  const Tensor want = at::matmul(x, W.t()) + r;
  CHECK(violation(ops::rotated_add(x, W, r), want, product_bound(want, x, W, r)) == "");
  CHECK(bit_difference(r, before) == "");
}

TEST_CASE("rotated_add refuses shapes and dtypes that do not fit") {
  const Tensor x = at::ones({2, 8}), W = at::ones({4, 8}), r = at::ones({2, 4});
  CHECK_THROWS_NAMING(ops::rotated_add(x, W.t(), r), ShapeError, "W (8, 4)");
  CHECK_THROWS_NAMING(ops::rotated_add(x, W, at::ones({3, 4})), ShapeError, "r (3, 4)");
  CHECK_THROWS_AS(ops::rotated_add(x, W, at::ones({4})), ShapeError);
  CHECK_THROWS_NAMING(ops::rotated_add(x, W.to(at::kHalf), r), DtypeError, "float16");
}

TEST_CASE("accumulate_covariance adds the lower triangle of zᵀz, exactly in float64") {
  for (const at::ScalarType dtype : kDtypes) {
    for (const int64_t D : {1, 7, 192, 193, 400}) {  // on both sides of the panel width
      CAPTURE(c10::toString(dtype), D);
      const Tensor z = gaussian({19, D}, 11, dtype);
      Tensor C = at::eye(D, at::kDouble);
      ops::accumulate_covariance(C, z);
      ops::accumulate_covariance(C, z.slice(0, 0, 0));
      const Tensor exact = z.to(at::kDouble), want = at::eye(D, at::kDouble) + exact.t().mm(exact);
      const Tensor size = at::eye(D, at::kDouble) + exact.abs().t().mm(exact.abs());
      CHECK(violation(C.tril(), want.tril(), sum_bound(size, 19 + 1, at::kDouble)) == "");
      ops::mirror_lower(C);
      CHECK(bit_difference(C, C.t()) == "");
    }
  }
}

TEST_CASE(
    "accumulate_covariance refuses wrong widths and masters that are not contiguous float64") {
  const Tensor z = at::ones({3, 4});
  Tensor C = at::zeros({4, 4}, at::kDouble), narrow = at::zeros({4, 4}),
         flat = at::zeros({4, 5}, at::kDouble);
  Tensor strided = at::zeros({4, 8}, at::kDouble).slice(1, 0, 4);
  CHECK_THROWS_NAMING(ops::accumulate_covariance(C, at::ones({3, 5})), ShapeError, "(3, 5)");
  CHECK_THROWS_AS(ops::accumulate_covariance(C, at::ones({4})), ShapeError);
  CHECK_THROWS_NAMING(ops::accumulate_covariance(narrow, z), DtypeError, "float32");
  CHECK_THROWS_AS(ops::accumulate_covariance(flat, z), ShapeError);
  CHECK_THROWS_AS(ops::accumulate_covariance(strided, z), ShapeError);
  CHECK_THROWS_AS(ops::mirror_lower(flat), ShapeError);
}

TEST_CASE("symmetric_eigen reads the lower triangle and gives small residuals") {
  const int64_t D = 60;
  const Tensor A = gaussian({D, D}, 12), S = A + A.t();
  const Tensor C = S.tril() + at::full({D, D}, 1e30, at::kDouble).triu(1), before = C.clone();
  const auto [values, Q] = ops::symmetric_eigen(C);
  const double norm = values.abs().max().item<double>();
  CHECK(violation(S.mm(Q), Q * values, eigen_bound(D) * norm) == "");
  CHECK(violation(Q.t().mm(Q), at::eye(D, at::kDouble), eigen_bound(D)) == "");
  CHECK((values.diff() >= 0).all().item<bool>());
  CHECK(bit_difference(C, before) == "");
}

TEST_CASE("symmetric_eigen refuses all but square float64 matrices") {
  CHECK_THROWS_NAMING(ops::symmetric_eigen(at::ones({2, 3}, at::kDouble)), ShapeError, "(2, 3)");
  CHECK_THROWS_NAMING(ops::symmetric_eigen(at::ones({2, 2})), DtypeError, "float32");
}

}  // namespace
}  // namespace slice
