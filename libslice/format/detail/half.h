#pragma once

#include <c10/util/Half.h>

#include <cstddef>
#include <cstring>

namespace slice::detail {

/// A little-endian float16 at any address.
inline float read_half(const std::byte* from) {
  c10::Half value;
  std::memcpy(&value, from, sizeof value);
  return static_cast<float>(value);
}

}  // namespace slice::detail
