#pragma once

#include <fmt/core.h>

#include <string>

namespace slice::detail {

/// What fmt::vformat gives. The one place where fmt's code is compiled: in every source that formats
/// it would take half of the time to compile it.
std::string formatted_arguments(fmt::string_view text, fmt::format_args arguments);

/// fmt::format, for numbers and text.
template <typename... T>
std::string formatted(fmt::format_string<T...> text, T&&... values) {
  return formatted_arguments(text, fmt::make_format_args(values...));
}

}  // namespace slice::detail
