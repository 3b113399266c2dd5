#pragma once

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "tests/support/device_buffer.h"

// Oracles of the kernels: float64 loops over the same rounded inputs, and the comparison within a
// computed bound.

namespace slice::test {

/// Spacing of the numbers at 1.
inline double epsilon(DataType type) {
  switch (type) {
    case DataType::kFloat16:
      return 0x1p-10;
    case DataType::kBFloat16:
      return 0x1p-7;
    case DataType::kFloat32:
      return 0x1p-23;
    default:
      return 0x1p-52;
  }
}

inline double accumulator_epsilon(DataType type) {
  return epsilon(type == DataType::kFloat64 ? type : DataType::kFloat32);
}

/// Distance of neighbours next to zero, where float16 outputs can land.
inline double smallest_step(DataType type) {
  return type == DataType::kFloat16 ? 0x1p-24 : 0x1p-126;
}

/// `count` numbers in [−scale, scale), the same for the same seed everywhere.
inline std::vector<double> random_values(int64_t count, double scale, uint64_t seed) {
  std::mt19937_64 generator(seed);
  std::vector<double> values(static_cast<size_t>(count));
  for (double& value : values) {
    value = scale * (static_cast<double>(generator() >> 11) * 0x1p-52 - 1.0);
  }
  return values;
}

inline double largest(const std::vector<double>& values) {
  double result = 0;
  for (double value : values) result = std::max(result, std::abs(value));
  return result;
}

/// Checks |actual − expected| ≤ bounds entry by entry; a failure shows the worst place. NaN fails.
inline void check_within(const std::vector<double>& actual, const std::vector<double>& expected,
                         const std::vector<double>& bounds) {
  REQUIRE(actual.size() == expected.size());
  REQUIRE(actual.size() == bounds.size());
  double worst = 0;
  size_t index = 0;
  for (size_t i = 0; i < actual.size(); ++i) {
    const double difference = std::abs(actual[i] - expected[i]);
    const double share = std::isnan(difference) ? std::numeric_limits<double>::infinity()
                         : difference == 0      ? 0
                                                : difference / bounds[i];
    if (share > worst) {
      worst = share;
      index = i;
    }
  }
  if (!actual.empty()) {
    INFO("worst index " << index << ": got " << actual[index] << ", want " << expected[index]
                        << ", bound " << bounds[index]);
    CHECK(worst <= 1.0);
  }
}

/// The same with a bound that is a function of the expected value.
template <typename Bound>
requires std::invocable<Bound, double>
void check_within(const std::vector<double>& actual, const std::vector<double>& expected,
                  Bound&& bound) {
  std::vector<double> bounds(expected.size());
  std::transform(expected.begin(), expected.end(), bounds.begin(), bound);
  check_within(actual, expected, bounds);
}

/// y = x / sqrt(Σ x² / hidden + eps) · weight, x (rows, columns) with a row stride, weight
/// (columns) or empty.
inline std::vector<double> rms_norm_reference(const std::vector<double>& x, int64_t rows,
                                              int64_t columns, int64_t x_row_stride, int64_t hidden,
                                              double eps, const std::vector<double>& weight = {}) {
  std::vector<double> y(static_cast<size_t>(rows * columns));
  for (int64_t row = 0; row < rows; ++row) {
    double sum = 0;
    for (int64_t c = 0; c < columns; ++c)
      sum += x[row * x_row_stride + c] * x[row * x_row_stride + c];
    for (int64_t c = 0; c < columns; ++c) {
      y[row * columns + c] =
          x[row * x_row_stride + c] / std::sqrt(sum / static_cast<double>(hidden) + eps);
      if (!weight.empty()) y[row * columns + c] *= weight[c];
    }
  }
  return y;
}

/// zᵀ z (d, d), both triangles, z (tokens, d) with a row stride.
inline std::vector<double> covariance_reference(const std::vector<double>& z, int64_t tokens,
                                                int64_t d, int64_t row_stride) {
  std::vector<double> C(static_cast<size_t>(d * d));
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t i = 0; i < d; ++i) {
      for (int64_t j = 0; j <= i; ++j) {
        C[i * d + j] += z[t * row_stride + i] * z[t * row_stride + j];
      }
    }
  }
  for (int64_t i = 0; i < d; ++i) {
    for (int64_t j = 0; j < i; ++j) C[j * d + i] = C[i * d + j];
  }
  return C;
}

}  // namespace slice::test
