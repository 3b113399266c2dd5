#include "libslice/text/detail/chat_json.h"

#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/json.h"

namespace slice::detail {
namespace {

using Json = nlohmann::ordered_json;
using jinja::Value;

Json parse(std::string_view text, const std::string& name) {
  static_cast<void>(parse_json(text, name));  // its limits, and one line of why
  return Json::parse(text);
}

Value value_of(const Json& json, const std::string& name) {
  switch (json.type()) {
    case Json::value_t::boolean:
      return json.get<bool>();
    case Json::value_t::number_integer:
      return json.get<int64_t>();
    case Json::value_t::number_unsigned:
      SLICE_FORMAT_CHECK(std::in_range<int64_t>(json.get<uint64_t>()),
                         "{}: an integer past 64 bits", name);
      return json.get<int64_t>();
    case Json::value_t::number_float:
      return json.get<double>();
    case Json::value_t::string:
      return json.get<std::string>();
    case Json::value_t::array: {
      std::vector<Value> items;
      for (const Json& item : json) items.push_back(value_of(item, name));
      return Value::list(std::move(items));
    }
    case Json::value_t::object: {
      std::vector<std::pair<std::string, Value>> entries;
      for (const auto& [key, member] : json.items())
        entries.emplace_back(key, value_of(member, name));
      return Value::dict(std::move(entries));
    }
    default:
      return jinja::None();
  }
}

void join_parts_inplace(Json& content, const std::string& name) {
  std::string text;
  for (const Json& part : content) {
    const bool is_text = part.is_object() && part.value("type", Json()) == "text" &&
                         part.value("text", Json()).is_string();
    SLICE_FORMAT_CHECK(is_text, "{}: 'content': want text, or parts of type text alone", name);
    if (&part != &content.front()) text += "\n";
    text += part["text"].get<std::string>();
  }
  content = text;
}

// A template writes a call's arguments by its own rules, tojson or one by one.
void parse_arguments_inplace(Json& message, const std::string& name) {
  const auto calls = message.find("tool_calls");
  if (calls == message.end() || calls->is_null()) return;
  SLICE_FORMAT_CHECK(calls->is_array(), "{}: 'tool_calls': want an array", name);
  for (Json& call : *calls) {
    SLICE_FORMAT_CHECK(call.is_object() && call.value("function", Json()).is_object(),
                       "{}: 'tool_calls': want objects with a 'function'", name);
    Json& arguments = call["function"]["arguments"];
    if (arguments.is_string())
      arguments = parse(arguments.get_ref<const std::string&>(), name + ": 'arguments'");
  }
}

}  // namespace

Value messages_of_json(std::string_view messages) {
  Json list = parse(messages, "messages");
  SLICE_FORMAT_CHECK(list.is_array(), "messages: want an array");
  std::vector<Value> values;
  for (Json& message : list) {
    const std::string name = formatted("message {}", values.size());
    SLICE_FORMAT_CHECK(message.is_object(), "{}: want an object", name);
    SLICE_FORMAT_CHECK(message.value("role", Json()).is_string(), "{}: 'role': want a string",
                       name);
    const auto content = message.find("content");
    if (content != message.end() && content->is_array()) {
      join_parts_inplace(*content, name);
    } else {
      SLICE_FORMAT_CHECK(content == message.end() || content->is_null() || content->is_string(),
                         "{}: 'content': want text, or parts of type text alone", name);
    }
    parse_arguments_inplace(message, name);
    values.push_back(value_of(message, name));
  }
  return Value::list(std::move(values));
}

Value tools_of_json(std::string_view tools) {
  if (tools.empty()) return jinja::None();
  const Json list = parse(tools, "tools");
  SLICE_FORMAT_CHECK(list.is_array(), "tools: want an array");
  for (const Json& tool : list) SLICE_FORMAT_CHECK(tool.is_object(), "tools: want objects");
  return list.empty() ? Value(jinja::None()) : value_of(list, "tools");
}

std::map<std::string, Value> variables_of_json(std::string_view variables) {
  std::map<std::string, Value> values;
  if (variables.empty()) return values;
  const Json object = parse(variables, "variables");
  SLICE_FORMAT_CHECK(object.is_object(), "variables: want an object");
  for (const auto& [name, value] : object.items()) values.emplace(name, value_of(value, name));
  return values;
}

}  // namespace slice::detail
