#pragma once

#include <ATen/core/Tensor.h>

namespace slice::detail {

/// A tensor with a shape, but without memory of that size (one element, strides 0). Modules
/// register it until their weights are read, so that loading can check shapes and building a 70B
/// model costs nothing.
at::Tensor placeholder(at::IntArrayRef shape);
bool is_placeholder(const at::Tensor& tensor);

}  // namespace slice::detail
