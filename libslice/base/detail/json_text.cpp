#include "libslice/base/detail/json_text.h"

#include <nlohmann/json.hpp>

namespace slice::detail {

using nlohmann::ordered_json;

namespace {

/// On one line, with spaces after commas and colons.
std::string line(const ordered_json& value) {
  if (!value.is_structured())
    return value.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
  std::string text;
  for (const auto& [key, member] : value.items()) {
    if (!text.empty()) text += ", ";
    if (value.is_object()) text += line(ordered_json(key)) + ": ";
    text += line(member);
  }
  return value.is_object() ? "{" + text + "}" : "[" + text + "]";
}

std::string indented(const ordered_json& value, const std::string& margin) {
  const bool listed = value.is_array() && !value.empty() && value[0].is_structured();
  if (value.empty() || !(value.is_object() || listed)) return line(value);
  const std::string inner = margin + "  ";
  std::string text;
  for (const auto& [key, member] : value.items()) {
    text += (text.empty() ? "\n" : ",\n") + inner;
    text += listed ? line(member) : line(ordered_json(key)) + ": " + indented(member, inner);
  }
  text += "\n" + margin;
  return listed ? "[" + text + "]" : "{" + text + "}";
}

}  // namespace

std::string json_text(const ordered_json& value) { return indented(value, ""); }

}  // namespace slice::detail
