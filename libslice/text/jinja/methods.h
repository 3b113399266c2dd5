#pragma once

#include <string_view>

#include "libslice/text/jinja/value.h"

namespace slice::detail::jinja {

/// Python's methods of strings, lists and dicts; those that would change a list or dict are
/// refused, as in Transformers.
bool has_method(const Value& receiver, std::string_view name);

/// @throws Failure  an unsupported method, or wrong arguments
Value call_method(const Value& receiver, std::string_view name, const Arguments& arguments,
                  Meter& meter);

}  // namespace slice::detail::jinja
