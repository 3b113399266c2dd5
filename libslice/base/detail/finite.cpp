#include "libslice/base/detail/finite.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/tensor_text.h"

namespace slice::detail {

double largest_magnitude(const at::Tensor& tensor) {
  if (tensor.numel() == 0) return 0.0;
  const auto [least, most] = at::aminmax(tensor);  // a NaN anywhere makes both NaN
  const double low = least.item<double>(), high = most.item<double>();
  return std::isnan(low) ? low : std::max(std::abs(low), std::abs(high));
}

void check_finite(const at::Tensor& tensor, const std::string& name) {
  const double magnitude = largest_magnitude(tensor);
  SLICE_CHECK_AS(NumericError, std::isfinite(magnitude), "{} {}: holds a {}", name,
                 describe(tensor), std::isnan(magnitude) ? "NaN" : "Inf");
}

}  // namespace slice::detail
