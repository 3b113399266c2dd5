#pragma once

#include "libslice/text/jinja/value.h"

namespace slice::detail::jinja {

/// Python's text.format(…): fields by position, name, attribute and index, !s, !r, and formats.
/// @throws Failure  a field that is malformed, has no argument, or a format that it does not take
Value format_braces(const Value& text, const Arguments& arguments, Meter& meter);

}  // namespace slice::detail::jinja
