#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "libslice/base/detail/file.h"

namespace slice::detail {

/// Numbers of a block of Q8_0, which share a scale, and its bytes: float16, int8 × 32.
///                                                      (source: ggml, the gguf package's quants)
inline constexpr int64_t kQ8Block = 32, kQ8BlockBytes = 34;

/// Writes a matrix as ggml's Q8_0, row-major: of every 32 neighbouring numbers of a row the scale
/// d = max|x| / 127, rounded to float16, and x / d with the scale before its rounding, rounded to
/// integers, halves away from zero. The bytes are those of the gguf package's quantiser.
/// @param tensor  any device, strides and floating dtype, read as float32; its last dimension is a
///                multiple of 32
/// @param where   file and tensor, for messages
/// @throws NumericError  a NaN or Inf, or a scale that overflows float16   @throws Error  no space
void write_q8(OutputFile& out, const at::Tensor& tensor, const std::string& where);

}  // namespace slice::detail
