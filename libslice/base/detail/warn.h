#pragma once

#include <string>

#include "libslice/base/detail/formatted.h"

namespace slice::detail {

/// Gives one warning to the process's handler.
void warn_text(const std::string& message);

/// The same, formatted: warn("{}: {} tensors are not used", path, count).
template <typename... T>
void warn(fmt::format_string<T...> text, T&&... values) {
  warn_text(formatted_arguments(text, fmt::make_format_args(values...)));
}

}  // namespace slice::detail
