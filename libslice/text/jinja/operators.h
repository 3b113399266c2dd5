#pragma once

#include <string_view>

#include "libslice/text/jinja/value.h"

namespace slice::detail::jinja {

/// + - * / // % ** with Python's meaning, ~ joining texts.
/// @throws Failure  operands of the wrong kinds, a division by zero, an integer past 64 bits
Value binary(std::string_view sign, const Value& left, const Value& right, Meter& meter);

Value negated(const Value& value);

}  // namespace slice::detail::jinja
