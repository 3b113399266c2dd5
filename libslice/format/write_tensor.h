#pragma once

#include <ATen/core/Tensor.h>

#include <string>

#include "libslice/base/detail/file.h"

namespace slice::detail {

/// Writes a tensor's values as `dtype`, row-major; from any device and strides, converted in pieces
/// of at most 16 MB.
/// @param where          file and tensor, for messages
/// @throws NumericError  a finite value overflows the dtype     @throws Error  no space left
void write_tensor(OutputFile& out, const at::Tensor& tensor, at::ScalarType dtype,
                  const std::string& where);

}  // namespace slice::detail
