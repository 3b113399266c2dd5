#include "tests/support/error_bounds.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

namespace slice::tests {

using at::Tensor;

namespace {

Tensor magnitude(const Tensor& x) { return x.detach().to(at::kDouble).abs(); }

bool half_type(at::ScalarType dtype) { return dtype != accumulator(dtype); }

double smallest_subnormal(at::ScalarType dtype) {
  switch (dtype) {
    case at::kDouble:
      return 0x1p-1074;
    case at::kFloat:
      return 0x1p-149;
    case at::kHalf:
      return 0x1p-24;
    default:
      return 0x1p-133;  // bfloat16
  }
}

}  // namespace

double roundoff(at::ScalarType dtype) {
  switch (dtype) {
    case at::kDouble:
      return 0x1p-53;
    case at::kFloat:
      return 0x1p-24;
    case at::kHalf:
      return 0x1p-11;
    case at::kBFloat16:
      return 0x1p-8;
    default:
      throw std::invalid_argument("roundoff of a type that is not floating point");
  }
}

at::ScalarType accumulator(at::ScalarType dtype) {
  return dtype == at::kDouble ? at::kDouble : at::kFloat;
}

double gamma_n(int64_t n, at::ScalarType dtype) {
  const double roundings = static_cast<double>(n) * roundoff(dtype);
  if (roundings >= 1) throw std::invalid_argument("gamma_n: more roundings than 1/u");
  return roundings / (1 - roundings);
}

Tensor rounding_bound(const Tensor& y, at::ScalarType dtype) {
  return magnitude(y) * roundoff(dtype) + smallest_subnormal(dtype) / 2;
}

Tensor tie_bound(const Tensor& y, const Tensor& error, at::ScalarType dtype) {
  const auto rounded = [&](const Tensor& number) { return number.to(dtype).to(at::kDouble); };
  return rounded(y + error) - rounded(y - error);
}

Tensor sum_bound(const Tensor& magnitudes, int64_t n, at::ScalarType dtype) {
  return magnitudes.to(at::kDouble) * (gamma_n(n, dtype) + gamma_n(n, at::kDouble));
}

Tensor product_magnitudes(const Tensor& x, const Tensor& W) {
  return at::matmul(magnitude(x), magnitude(W).t());
}

Tensor product_bound(const Tensor& y, const Tensor& x, const Tensor& W, const Tensor& addend) {
  const at::ScalarType dtype = x.scalar_type();
  Tensor magnitudes = product_magnitudes(x, W), rounded = magnitude(y);
  if (addend.defined()) {
    magnitudes = magnitudes + magnitude(addend);
    rounded = rounded + magnitude(y - addend.to(at::kDouble));  // the product is rounded too
  }
  const Tensor sum =
      sum_bound(magnitudes, W.size(1) + (addend.defined() ? 1 : 0), accumulator(dtype));
  if (!half_type(dtype)) return sum;
  return sum + 2 * rounding_bound(rounded + sum, dtype) / (addend.defined() ? 1 : 2);
}

Tensor rms_norm_bound(const Tensor& y, int64_t k, at::ScalarType dtype) {
  const int64_t roundings = k / 2 + 8;
  const Tensor sum = sum_bound(magnitude(y), roundings, accumulator(dtype));
  return half_type(dtype) ? sum + rounding_bound(magnitude(y) + sum, dtype) : sum;
}

double eigen_bound(int64_t n) { return 50 * static_cast<double>(n) * 2 * roundoff(at::kDouble); }

double subspace_bound(int64_t n, double norm, double gap) {
  const double error = eigen_bound(n) * norm;
  return gap > error ? 2 * error / (gap - error) : std::numeric_limits<double>::infinity();
}

double solve_bound(int64_t n, double condition) {
  return condition * static_cast<double>(n) * gamma_n(3 * n + 1, at::kDouble);
}

double network_allowance(int64_t widest, int64_t sublayers, at::ScalarType dtype) {
  constexpr double kAmplified = 8;
  const auto parts = static_cast<double>(sublayers + 2);
  const double sums = 2 * std::sqrt(static_cast<double>(widest)) * roundoff(accumulator(dtype));
  return parts * (kAmplified * sums + (half_type(dtype) ? std::sqrt(10) * roundoff(dtype) : 0));
}

double network_allowance(const ModelConfig& config, at::ScalarType dtype) {
  const int64_t widest =
      std::max({config.hidden_size, config.heads * config.head_size, config.ffn_size});
  return network_allowance(widest, config.sublayers(), dtype);
}

}  // namespace slice::tests
