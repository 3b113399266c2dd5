#pragma once

#include <map>
#include <string_view>

#include "libslice/text/jinja/value.h"

namespace slice::detail::jinja {

using Filter = Value (*)(const Value& subject, const Arguments& arguments, Meter& meter);
using Filters = std::map<std::string_view, Filter>;

/// The filters by what they are about.
const Filters& text_filters();
const Filters& number_filters();
const Filters& sequence_filters();
const Filters& order_filters();
const Filters& selection_filters();

/// subject | name(arguments). @throws Failure  a filter that is not supported (named)
Value apply_filter(std::string_view name, const Value& subject, const Arguments& arguments,
                   Meter& meter);

/// subject is name(arguments). @throws Failure  a test that is not supported (named)
bool apply_test(std::string_view name, const Value& subject, const Arguments& arguments,
                Meter& meter);

bool has_filter(std::string_view name);
bool has_test(std::string_view name);

/// attribute="a.b" of an item: a member of a member; a number is an index, none the item itself.
Value attribute_of(const Value& item, const Value& attribute, Meter& meter);

}  // namespace slice::detail::jinja
