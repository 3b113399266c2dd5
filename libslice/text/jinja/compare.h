#pragma once

#include <string_view>
#include <utility>
#include <vector>

#include "libslice/text/jinja/value.h"

namespace slice::detail::jinja {

/// What Python says of an operator that two values do not have.
/// @throws Failure  that; of an undefined value, that it is undefined
[[noreturn]] void refuse_operands(std::string_view sign, const Value& left, const Value& right);

/// Python's ==.
bool equal(const Value& left, const Value& right, Meter& meter);

/// Python's <: of two strings, numbers, lists or tuples.
/// @throws Failure  of anything else, with `sign` in the message
bool less(std::string_view sign, const Value& left, const Value& right, Meter& meter);

/// == != < <= > >= "in" "not in".
bool compare(std::string_view sign, const Value& left, const Value& right, Meter& meter);

/// The items of a loop: items, keys, or characters; none for undefined. Empties an iterator.
std::vector<Value> elements(const Value& value, Meter& meter);

/// The value of a key of any type; null when absent. @throws Failure  a list or dict as the key
const Value* find_entry(const Dict& dict, const Value& key, Meter& meter);

/// Replaces the value of an equal key, or appends. @throws Failure  a list or dict as the key
void put_entry(std::vector<std::pair<Value, Value>>& entries, const Value& key, Value value,
               Meter& meter);

/// Charges the cost of a search for `needle`, before the search.
void charge_search(std::string_view text, std::string_view needle, Meter& meter);

}  // namespace slice::detail::jinja
