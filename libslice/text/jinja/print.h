#pragma once

#include <string>

#include "libslice/text/jinja/value.h"

namespace slice::detail::jinja {

/// The result of Python's str(); empty for undefined.
/// @throws Failure  a value that Python prints with its address
std::string to_text(const Value& value, Meter& meter);

/// The result of Python's repr(). @throws Failure  as to_text
std::string to_repr(const Value& value, Meter& meter);

/// The shortest digits that read back as the same number, laid out as Python does.
std::string float_text(double number);

}  // namespace slice::detail::jinja
