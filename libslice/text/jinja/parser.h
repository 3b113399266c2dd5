#pragma once

#include <string>
#include <string_view>

#include "libslice/text/jinja/tree.h"

namespace slice::detail::jinja {

/// @param name  of the template, for messages
/// @throws FormatError  malformed, nested too deep, or an unsupported statement (names the line)
Body parse_template(std::string_view source, const std::string& name);

}  // namespace slice::detail::jinja
