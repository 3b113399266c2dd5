#include "libslice/base/detail/python_json.h"

#include <cmath>

#include "libslice/base/detail/json.h"

namespace slice::detail {
namespace {

constexpr std::string_view kConstants[] = {"NaN", "Infinity", "-Infinity"};

/// The constant that begins `text`; empty where none does.
std::string_view leading_constant(std::string_view text) {
  for (const std::string_view constant : kConstants)
    if (text.starts_with(constant)) return constant;
  return {};
}

/// The text with quotation marks around constants outside strings.
std::string quote_constants(std::string_view text) {
  std::string quoted;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (const auto constant = leading_constant(text.substr(i)); !in_string && !constant.empty()) {
      quoted.append("\"").append(constant).append("\"");
      i += constant.size() - 1;
      continue;
    }
    quoted += text[i];
    if (text[i] == '"') in_string = !in_string;
    if (in_string && text[i] == '\\' && i + 1 < text.size()) quoted += text[++i];
  }
  return quoted;
}

}  // namespace

nlohmann::json parse_python_json(std::string_view text, const std::string& name) {
  for (const std::string_view constant : kConstants)
    if (text.find(constant) != std::string_view::npos)
      return parse_json(quote_constants(text), name);
  return parse_json(text, name);
}

void make_integers_inplace(nlohmann::json& value) {
  constexpr double kLargest = 9007199254740992.0;  // 2^53: all integers up to it are exact
  if (value.is_structured()) {
    for (nlohmann::json& entry : value) make_integers_inplace(entry);
  } else if (value.is_number_float()) {
    const auto number = value.get<double>();
    if (std::abs(number) <= kLargest && number == std::trunc(number))
      value = static_cast<int64_t>(number);
  }
}

}  // namespace slice::detail
