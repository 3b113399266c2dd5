#pragma once

#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "examples/serve/api_error.h"

namespace serve {

/// Keeps the order of members, which a template or a schema may depend on.
using Json = nlohmann::ordered_json;

/// The object in a request's body.
/// @throws ApiError  400: not JSON, not UTF-8, nested more than 64 deep, a number that no double
///                   holds, not an object
Json parse_body(std::string_view body);

/// The member of that name, or null where it is missing or null itself.
const Json* find(const Json& object, const char* name);

/// An integer, which may be written as 3.0. @param field  its name, for messages
int64_t as_integer(const Json& value, const std::string& field);
/// An array of integers.
std::vector<int64_t> as_integers(const Json& value, const std::string& field);

/// A member of a type: bool, int64_t, double or std::string; nothing where it is missing or null.
/// @throws ApiError  400, with its name
template <typename T>
std::optional<T> get(const Json& object, const char* name) {
  const Json* value = find(object, name);
  if (value == nullptr) return std::nullopt;
  if constexpr (std::is_same_v<T, bool>) {
    if (!value->is_boolean()) refuse(name, "want true or false");
    return value->get<bool>();
  } else if constexpr (std::is_same_v<T, std::string>) {
    if (!value->is_string()) refuse(name, "want a string");
    return value->get<std::string>();
  } else if constexpr (std::is_same_v<T, double>) {
    if (!value->is_number()) refuse(name, "want a number");
    return value->get<double>();
  } else {
    return as_integer(*value, name);
  }
}

/// An integer between two numbers; `absent` where it is missing.
int64_t integer_in(const Json& object, const char* name, int64_t least, int64_t most,
                   int64_t absent);
/// The same of a number.
double number_in(const Json& object, const char* name, double least, double most, double absent);

/// JSON on one line; what is not UTF-8 is replaced.
std::string text_of(const Json& value);

}  // namespace serve
