#pragma once

#include <map>
#include <string_view>

#include "libslice/text/jinja/value.h"

namespace slice::detail::jinja {

using Method = Value (*)(const Value& receiver, const Arguments& arguments, Meter& meter);
using Methods = std::map<std::string_view, Method>;

/// Methods of Python's strings: those that search and cut, and those that change or look at their
/// characters.
const Methods& text_searches();
const Methods& text_forms();

/// Python's methods of strings, lists, dicts and numbers, and Jinja's of loops and cyclers.
/// @throws Failure  a method that Python has and this does not (named)
bool has_method(const Value& receiver, std::string_view name);

/// The attribute is a method that would change a list or dict, which the sandbox takes as undefined
/// even when an entry has that name.
bool hides_entry(const Value& receiver, std::string_view name);

/// @throws Failure  an unsupported method, or wrong arguments
Value call_method(const Value& receiver, std::string_view name, const Arguments& arguments,
                  Meter& meter);

}  // namespace slice::detail::jinja
