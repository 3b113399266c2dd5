#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "libslice/base/detail/check.h"

namespace slice::detail {

/// Numbers, strings, lists, … in one JSON text. A value takes up to about 100 bytes of memory, and
/// two of text, so a stranger's file of 1 GiB could ask for more memory than there is.
constexpr int64_t kMostJsonValues = 32'000'000;

/// Parses JSON that came from a file. @param name  file (and line), for messages.
/// @throws FormatError  not JSON, nested more than 64 levels deep, or of more values than allowed
nlohmann::json parse_json(std::string_view text, const std::string& name,
                          int64_t most_values = kMostJsonValues);

/// A key that occurs twice in one object of a text that parse_json took (it keeps the last).
/// Cost: one pass over the text, and the keys of the objects that are open.
std::optional<std::string> duplicate_key(std::string_view text);

/// A member of an object; null counts as missing. T: bool, int64_t, double, std::string.
/// @param where         file and place, for messages
/// @throws FormatError  not an object, or a member of another type
template <typename T>
std::optional<T> find_field(const nlohmann::json& object, const char* key,
                            const std::string& where) {
  SLICE_FORMAT_CHECK(object.is_object(), "{}: want an object, got {}", where, object.type_name());
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return std::nullopt;
  bool fits = found->is_string();
  const char* wanted = "a string";
  if constexpr (std::is_same_v<T, bool>) {
    fits = found->is_boolean();
    wanted = "a boolean";
  } else if constexpr (std::is_same_v<T, int64_t>) {
    fits = found->is_number_integer();
    wanted = "an integer";
  } else if constexpr (std::is_same_v<T, double>) {
    fits = found->is_number();
    wanted = "a number";
  }
  SLICE_FORMAT_CHECK(fits, "{}: '{}': want {}, got {}", where, key, wanted, found->type_name());
  return found->get<T>();
}

/// The same for a member that must be there.
template <typename T>
T field(const nlohmann::json& object, const char* key, const std::string& where) {
  auto value = find_field<T>(object, key, where);
  SLICE_FORMAT_CHECK(value, "{}: '{}' is missing", where, key);
  return *std::move(value);
}

/// A member that is an array; empty when missing. @throws FormatError  something else.
const nlohmann::json& array_field(const nlohmann::json& object, const char* key,
                                  const std::string& where);

}  // namespace slice::detail
