#pragma once

#include <map>
#include <string>
#include <string_view>

#include "libslice/text/jinja/value.h"

namespace slice::detail {

/// A conversation in OpenAI's form as a template's `messages`: objects with all their members, in
/// their order. Content that is a list of text parts becomes their texts, a line each; arguments of
/// tool calls, which are JSON in a string, become that JSON.
/// @throws FormatError  not an array of objects with a role, or a part that is no text (names it)
jinja::Value messages_of_json(std::string_view messages);

/// An array of tools, or none where the text is empty.
jinja::Value tools_of_json(std::string_view tools);

/// The members of an object by name; none where the text is empty.
std::map<std::string, jinja::Value> variables_of_json(std::string_view variables);

}  // namespace slice::detail
