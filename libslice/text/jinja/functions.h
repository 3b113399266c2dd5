#pragma once

#include <string_view>

#include "libslice/text/jinja/value.h"

namespace slice::detail::jinja {

/// range, dict, cycler, joiner, raise_exception and strftime_now: the functions that Transformers
/// gives a template, except for `namespace`, which the interpreter defines, and `lipsum`.
bool has_function(std::string_view name);

/// @throws Failure  wrong arguments; the message of raise_exception
Value call_function(std::string_view name, const Arguments& arguments, Meter& meter);

}  // namespace slice::detail::jinja
