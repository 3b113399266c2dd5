#pragma once

#include <string_view>

#include "libslice/text/jinja/value.h"

namespace slice::detail::jinja {

/// subject | name(arguments). @throws Failure  a filter that is not supported (named)
Value apply_filter(std::string_view name, const Value& subject, const Arguments& arguments,
                   Meter& meter);

/// subject is name(arguments). @throws Failure  a test that is not supported (named)
bool apply_test(std::string_view name, const Value& subject, const Arguments& arguments,
                Meter& meter);

}  // namespace slice::detail::jinja
