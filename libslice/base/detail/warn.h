#pragma once

#include <string>
#include <vector>

#include "libslice/base/detail/formatted.h"

namespace slice::detail {

/// Gives one warning to the process's handler.
void warn_text(const std::string& message);

/// The same, formatted: warn("{}: {} tensors are not used", path, count).
template <typename... T>
void warn(fmt::format_string<T...> text, T&&... values) {
  warn_text(formatted_arguments(text, fmt::make_format_args(values...)));
}

/// A list for one line: "12, 15, 19 and 4 more".
std::string shortened(const std::vector<std::string>& items);

}  // namespace slice::detail
