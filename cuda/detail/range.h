#pragma once

#include <cstdint>

namespace slice::kernels::detail {

inline bool is_aligned(const void* pointer, int64_t bytes) {
  return reinterpret_cast<uintptr_t>(pointer) % static_cast<uintptr_t>(bytes) == 0;
}

/// True when the two byte ranges share nothing. An empty range is disjoint from everything.
inline bool are_disjoint(const void* a, int64_t a_bytes, const void* b, int64_t b_bytes) {
  const auto a_begin = reinterpret_cast<uintptr_t>(a);
  const auto b_begin = reinterpret_cast<uintptr_t>(b);
  return a_bytes <= 0 || b_bytes <= 0 || a_begin + static_cast<uintptr_t>(a_bytes) <= b_begin ||
         b_begin + static_cast<uintptr_t>(b_bytes) <= a_begin;
}

/// Elements from the first to one past the last of `rows` rows that lie `stride` apart.
inline int64_t strided_extent(int64_t rows, int64_t columns, int64_t stride) {
  return rows == 0 || columns == 0 ? 0 : (rows - 1) * stride + columns;
}

}  // namespace slice::kernels::detail
