#pragma once

#include <c10/core/ScalarType.h>

#include <cstddef>
#include <cstdint>
#include <string>

namespace slice::detail {

/// How ggml stores one tensor type: blocks of `block_size` values in `block_bytes` bytes, along a
/// row. (ggml: ggml-common.h, ggml-quants.c)
struct GgmlType {
  int32_t number;
  const char* name;
  int64_t block_size;
  int64_t block_bytes;
  c10::ScalarType dtype;  ///< of the values once read: float32 when quantised
  /// Values of `blocks` blocks, in float32; null for types that are stored as they are.
  void (*dequantise)(const std::byte* from, float* to, int64_t blocks);
};

/// The type of this number.
/// @param where         the tensor, for messages
/// @throws FormatError  not a type that libslice reads (by name, if it is one of ggml's)
const GgmlType& ggml_type(int32_t number, const std::string& where);

/// Dequantises in parallel: `to` takes `blocks` · block_size floats. Cost: one pass over the bytes.
void dequantise(const GgmlType& type, const std::byte* from, float* to, int64_t blocks);

}  // namespace slice::detail
