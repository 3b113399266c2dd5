#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "libslice/text/jinja/value.h"

namespace slice::detail::jinja {

/// How Python's format() lays out a value: [[fill]align][sign][#][0][width][,][.precision][type].
struct FormatSpec {
  std::string fill = " ";
  char align = '\0';  ///< < > ^ =, or by the type of the value
  char sign = '-';    ///< - + or a space, of numbers that are not negative
  bool alternate = false;
  int64_t width = 0;
  char grouping = '\0';  ///< , or _ between thousands
  std::optional<int64_t> precision = {};
  char type = '\0';
};

/// @throws Failure  not a format of Python
FormatSpec parse_format_spec(std::string_view text);

/// @throws Failure  a type or option that the value does not take
std::string format_value(const Value& value, const FormatSpec& spec, Meter& meter);

/// The text with the fill around it that makes it `width` characters long.
std::string padded(const std::string& text, const FormatSpec& spec, char default_align,
                   Meter& meter);

}  // namespace slice::detail::jinja
