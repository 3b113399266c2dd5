#include "tests/support/matchers.h"

#include <ATen/ATen.h>
#include <fmt/core.h>
#include <fmt/ranges.h>

#include <cmath>
#include <limits>

namespace slice::tests {

using at::Tensor;

std::string violation(const Tensor& actual, const Tensor& expected, const Tensor& bound) {
  if (!actual.defined() || !expected.defined()) return "undefined tensor";
  if (actual.sizes() != expected.sizes()) {
    return fmt::format("shape ({}), want ({})", fmt::join(actual.sizes(), ", "),
                       fmt::join(expected.sizes(), ", "));
  }
  if (actual.numel() == 0) return "";
  const Tensor a = actual.to(at::kDouble), e = expected.to(at::kDouble);
  const Tensor b = bound.to(at::kDouble).expand_as(a);
  // A NaN difference counts as the worst of all.
  const Tensor excess = (a - e).abs().sub(b).nan_to_num(std::numeric_limits<double>::infinity());
  if (excess.max().item<double>() <= 0) return "";
  int64_t flat = excess.argmax().item<int64_t>();
  const auto value = [flat](const Tensor& t) { return t.reshape({-1})[flat].item<double>(); };
  const std::string values =
      fmt::format("got {:.17g}, want {:.17g} within {:.3g}", value(a), value(e), value(b));
  std::vector<int64_t> index(a.dim());
  for (int64_t d = a.dim() - 1; d >= 0; --d) {
    index[d] = flat % a.size(d);
    flat /= a.size(d);
  }
  return fmt::format("at ({}): {}", fmt::join(index, ", "), values);
}

std::string violation(const Tensor& actual, const Tensor& expected, double bound) {
  return violation(actual, expected, at::full({}, bound, at::kDouble));
}

std::string bit_difference(const Tensor& actual, const Tensor& expected) {
  if (actual.scalar_type() != expected.scalar_type()) {
    return fmt::format("{}, want {}", c10::toString(actual.scalar_type()),
                       c10::toString(expected.scalar_type()));
  }
  return violation(actual, expected, 0.0);
}

double relative_difference(const Tensor& actual, const Tensor& expected) {
  const Tensor a = actual.to(at::kDouble), e = expected.to(at::kDouble);
  const double difference = (a - e).abs().max().item<double>();
  const double largest = e.abs().max().item<double>();
  const double relative = difference / largest;
  return std::isfinite(relative) ? relative : std::numeric_limits<double>::infinity();
}

}  // namespace slice::tests
