#pragma once

#include <ATen/core/Tensor.h>

#include <string>

namespace slice::detail {

/// SHA-256, in hexadecimal, of an int64 tensor's values in row-major order as little-endian bytes.
std::string sha256(const at::Tensor& ids);

}  // namespace slice::detail
