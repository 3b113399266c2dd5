#include "libslice/model/rotary.h"

#include <ATen/ATen.h>

#include <catch2/catch_all.hpp>
#include <cmath>

#include "libslice/base/error.h"
#include "tests/support/error_bounds.h"
#include "tests/support/matchers.h"
#include "tests/support/reference.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

using at::Tensor;
using namespace tests;

/// How far two computed rotations of one pair of numbers, by float64 angles up to that of `last`,
/// lie apart, as a share of their length: a frequency θ^(−2i/d) is off by 20 roundings at most (the
/// exponent's counts ln θ times), and an angle of n radians turns by n of them.
double angle_bound(int64_t last) {
  return 2 * static_cast<double>(last) * gamma_n(20, at::kDouble);
}

/// Besides that, cosine, sine, two products and a sum in the accumulator, rounded to x's dtype.
Tensor rotary_bound(const Tensor& x, const Tensor& want, int64_t last) {
  const at::ScalarType dtype = x.scalar_type();
  const double largest = x.to(at::kDouble).abs().max().item<double>();
  const double wide = 2 * largest * (gamma_n(4, accumulator(dtype)) + gamma_n(4, at::kDouble)) +
                      std::sqrt(2.0) * largest * angle_bound(last);
  return dtype == accumulator(dtype) ? at::full_like(want, wide)
                                     : wide + rounding_bound(want.abs() + wide, dtype);
}

TEST_CASE("rotary positions equal complex multiplication in every dtype") {
  for (const double theta : {10000.0, 500000.0}) {
    const Rotary rotary(10, theta);
    for (const at::ScalarType dtype : {at::kDouble, at::kFloat, at::kHalf, at::kBFloat16}) {
      CAPTURE(theta, c10::toString(dtype));
      const Tensor x = gaussian({2, 7, 3, 10}, 1, dtype);
      const Tensor want = rotary_reference(x, 2000, theta);
      CHECK(violation(rotary.apply(x, 2000), want, rotary_bound(x, want, 2006)) == "");
    }
  }
}

TEST_CASE("scaled frequencies are those of the definitions") {
  const auto all = [](const RopeScaling& scaling) {
    return Rotary(128, 500000.0, scaling).frequencies();
  };
  const std::vector<double> plain = Rotary(128, 500000.0).frequencies();
  const auto linear = all({RopeScaling::Kind::kLinear, 4});
  const auto llama3 = all({RopeScaling::Kind::kLlama3, 8, 1, 4, 8192});  // Llama 3.1
  REQUIRE(plain.size() == 64);
  int kept = 0, divided = 0;
  for (size_t i = 0; i < plain.size(); ++i) {
    CAPTURE(i);
    CHECK(plain[i] == Catch::Approx(std::pow(500000.0, -static_cast<double>(i) / 64))
                          .epsilon(gamma_n(8, at::kDouble)));
    CHECK(linear[i] == plain[i] / 4);
    const double wavelength = 2 * 3.14159265358979323846 / plain[i];
    double want = plain[i];
    if (wavelength > 8192.0) {
      want = plain[i] / 8;
      ++divided;
    } else if (wavelength >= 8192.0 / 4) {
      const double smooth = (8192.0 / wavelength - 1) / 3;
      want = (1 - smooth) * plain[i] / 8 + smooth * plain[i];
    } else {
      ++kept;
    }
    // Between the two, sums of numbers up to four times what they make.
    CHECK(llama3[i] == Catch::Approx(want).epsilon(gamma_n(128, at::kDouble)));
  }
  CHECK(kept == 29);
  CHECK(divided == 29);
}

TEST_CASE("position 0 is the identity and a later start continues an earlier one") {
  const Rotary rotary(6, 10000.0);
  const Tensor x = gaussian({1, 9, 2, 6}, 2);
  CHECK(bit_difference(rotary.apply(x.slice(1, 0, 1), 0), x.slice(1, 0, 1)) == "");
  CHECK(bit_difference(rotary.apply(x.slice(1, 4), 4), rotary.apply(x, 0).slice(1, 4)) == "");
}

TEST_CASE("scores depend on the distance of two positions alone") {
  const Rotary rotary(8, 10000.0);
  const Tensor q = gaussian({1, 1, 1, 8}, 3), k = gaussian({1, 1, 1, 8}, 4);
  const double near = (rotary.apply(q, 5) * rotary.apply(k, 2)).sum().item<double>();
  const double far = (rotary.apply(q, 105) * rotary.apply(k, 102)).sum().item<double>();
  // The angles turn the vectors, and both scores are sums of eight products of sums of two.
  const double size = q.norm().item<double>() * k.norm().item<double>();
  const double bound = angle_bound(5 + 2 + 105 + 102) + 2 * 2 * gamma_n(8 + 8, at::kDouble);
  CHECK(std::abs(near - far) < bound * size);
}

TEST_CASE("rotary positions refuse odd heads, bases that are not positive and other shapes") {
  CHECK_THROWS_NAMING(Rotary(7, 10000.0), ArgumentError, "7");
  CHECK_THROWS_AS(Rotary(0, 10000.0), ArgumentError);
  CHECK_THROWS_NAMING(Rotary(8, 0.0), ArgumentError, "theta");
  CHECK_THROWS_NAMING(Rotary(8, 10000.0).apply(at::ones({1, 2, 3, 6}), 0), ShapeError,
                      "(1, 2, 3, 6)");
  CHECK_THROWS_AS(Rotary(8, 10000.0).apply(at::ones({2, 3, 8}), 0), ShapeError);
}

TEST_CASE("a partial rotation turns the first coordinates of a head and leaves the rest") {
  const Tensor x = gaussian({2, 5, 3, 10}, 1);
  const Tensor y = Rotary(4, 500.0).apply(x, 7);
  const Tensor want = rotary_reference(x.slice(3, 0, 4), 7, 500.0);
  CHECK(violation(y.slice(3, 0, 4), want, rotary_bound(x, want, 11)) == "");
  CHECK(bit_difference(y.slice(3, 4), x.slice(3, 4)) == "");
}

}  // namespace
}  // namespace slice
