#pragma once

#include <cstdint>

namespace slice::kernels {

/// What a `void*` points to; the launchers take it beside the pointers.
enum class DataType { kFloat16, kBFloat16, kFloat32, kFloat64 };

constexpr int64_t size_of(DataType type) {
  return type == DataType::kFloat64 ? 8 : type == DataType::kFloat32 ? 4 : 2;
}

}  // namespace slice::kernels
