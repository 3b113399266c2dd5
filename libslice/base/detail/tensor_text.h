#pragma once

#include <ATen/core/Tensor.h>

#include <string>

namespace slice::detail {

/// "(4096, 1024) bfloat16", for messages; "undefined" for an undefined tensor.
std::string describe(const at::Tensor& tensor);
std::string describe(at::IntArrayRef shape);
/// "4 0 7" of numbers and what stands between two of them.
std::string joined(at::IntArrayRef numbers, const std::string& between);
/// "float32", "float16", "bfloat16", "float64", …: Hugging Face's names.
std::string dtype_name(at::ScalarType dtype);

}  // namespace slice::detail
