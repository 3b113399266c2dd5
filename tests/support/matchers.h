#pragma once

#include <ATen/core/Tensor.h>

#include <catch2/catch_all.hpp>
#include <string>

// Comparisons that say where and how far two tensors part. They return "" when all is well, so a
// test writes CHECK(violation(actual, expected, bound) == "") and a failure prints the sentence.

namespace slice::tests {

/// Where |actual − expected| exceeds the bound: the worst index, both values and the bound there.
/// @param expected, bound  anything that broadcasts to actual's shape; compared in float64
std::string violation(const at::Tensor& actual, const at::Tensor& expected,
                      const at::Tensor& bound);
std::string violation(const at::Tensor& actual, const at::Tensor& expected, double bound);

/// Where two tensors differ in dtype, shape or one bit.
std::string bit_difference(const at::Tensor& actual, const at::Tensor& expected);

/// max |actual − expected| / max |expected|; infinite when a value is not finite.
double relative_difference(const at::Tensor& actual, const at::Tensor& expected);

}  // namespace slice::tests

/// The expression throws exactly `Type`, and its message contains `text`.
#define CHECK_THROWS_NAMING(expression, Type, text) \
  CHECK_THROWS_MATCHES(expression, Type,            \
                       Catch::Matchers::MessageMatches(Catch::Matchers::ContainsSubstring(text)))
