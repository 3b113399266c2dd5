#pragma once

#include <ATen/core/Tensor.h>

#include <string>

namespace slice::detail {

/// @throws NumericError  `name` holds a NaN or Inf. Cost: one pass of reading, no memory.
void check_finite(const at::Tensor& tensor, const std::string& name);
/// Largest absolute value; 0 of an empty tensor.
double largest_magnitude(const at::Tensor& tensor);

}  // namespace slice::detail
