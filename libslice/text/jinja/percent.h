#pragma once

#include "libslice/text/jinja/value.h"

namespace slice::detail::jinja {

/// Python's "text % arguments": a tuple of them, a dict for %(name)s, or one value.
/// @throws Failure  a conversion that is not supported (named), too few or too many arguments
Value format_percent(const Value& text, const Value& arguments, Meter& meter);

}  // namespace slice::detail::jinja
