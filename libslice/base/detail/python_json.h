#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace slice::detail {

/// Parses JSON as Python's json module writes and reads it: NaN, Infinity and -Infinity, which JSON
/// does not have, become these words as strings, so that nobody takes them for a number.
/// @param name  file, for messages
/// @throws FormatError  as parse_json (json.h)
nlohmann::json parse_python_json(std::string_view text, const std::string& name);

/// Turns numbers such as 512.0 into integers, everywhere in the value: tools that pass numbers
/// through floating point write sizes so. A reader of fractions takes either.
void make_integers_inplace(nlohmann::json& value);

}  // namespace slice::detail
