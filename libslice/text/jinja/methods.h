#pragma once

#include <string_view>

#include "libslice/text/jinja/value.h"

namespace slice::detail::jinja {

/// Python's methods of strings, lists and dicts; those that would change a list or dict are
/// refused, as Transformers refuses them.
bool has_method(const Value& receiver, std::string_view name);

/// @throws Failure  no such method, or arguments that it does not take.
Value call_method(const Value& receiver, std::string_view name, const Arguments& arguments,
                  Meter& meter);

}  // namespace slice::detail::jinja
