#define FMT_HEADER_ONLY  // LibTorch may bring headers of a newer fmt than the library that is installed
#include "libslice/base/detail/formatted.h"

#include <fmt/format.h>

namespace slice::detail {

std::string formatted_arguments(fmt::string_view text, fmt::format_args arguments) {
  return fmt::vformat(text, arguments);
}

}  // namespace slice::detail
