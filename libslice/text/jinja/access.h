#pragma once

#include <string_view>

#include "libslice/text/jinja/value.h"

namespace slice::detail::jinja {

/// subject.name: a method first, then a member.
/// @throws Failure  the subject is undefined
Value get_attribute(const Value& subject, std::string_view name, Meter& meter);

/// subject[index]: a member first, then a method; undefined when there is neither.
Value get_item(const Value& subject, const Value& index, Meter& meter);

/// subject[start:stop:step]; a bound that is undefined or none was left out.
Value get_slice(const Value& subject, const Value& start, const Value& stop, const Value& step,
                Meter& meter);

}  // namespace slice::detail::jinja
