#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace slice::detail::jinja {

struct NumberLiteral {
  size_t length;       ///< in the template
  std::string digits;  ///< decimal, without _
  bool is_float;
};

/// The number at the beginning of a text that begins with a digit.
/// @throws Failure  a hexadecimal, octal or binary number past 64 bits
NumberLiteral read_number_literal(std::string_view text);

/// A string without its quotes, with Python's escapes as characters; a backslash before anything
/// else is kept. @throws Failure  an escape of no character
std::string unescaped(std::string_view text);

}  // namespace slice::detail::jinja
