#pragma once

#include <string_view>

#include "libslice/text/jinja/value.h"

namespace slice::detail::jinja {

/// range, dict, raise_exception and strftime_now: the functions that Transformers gives a template,
/// but for `namespace`, which the interpreter owns.
bool has_function(std::string_view name);

/// @throws Failure  arguments that it does not take; what raise_exception was told.
Value call_function(std::string_view name, const Arguments& arguments, Meter& meter);

}  // namespace slice::detail::jinja
