#include "libslice/text/detail/text_record.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/json.h"

namespace slice::detail {
namespace {

using nlohmann::json;

/// The text of the first of these keys that is there; null is no text.
std::optional<std::string> first_text(const json& object, std::initializer_list<const char*> keys,
                                      const std::string& where) {
  for (const char* key : keys)
    if (object.contains(key)) return find_field<std::string>(object, key, where).value_or("");
  return std::nullopt;
}

/// ShareGPT's names of the two sides.
std::string role_of(const std::string& name) {
  if (name == "human") return "user";
  if (name == "gpt" || name == "chatgpt" || name == "bing" || name == "bard" || name == "model")
    return "assistant";
  return name;
}

/// A message's text: a string, a list of parts of which those of type text count, or null.
std::string content_of(const json& message, const char* key, const std::string& where) {
  const auto found = message.find(key);
  if (found == message.end() || !found->is_array())
    return find_field<std::string>(message, key, where).value_or("");
  std::string content;
  for (const json& part : *found)
    content += part.is_string() ? part.get<std::string>()
                                : find_field<std::string>(part, "text", where).value_or("");
  return content;
}

void append_messages(const json& list, const std::string& where,
                     std::vector<ChatMessage>& messages) {
  SLICE_FORMAT_CHECK(list.is_array(), "{}: want an array of messages, got {}", where,
                     list.type_name());
  for (const json& message : list) {
    const std::string place = formatted("{}: message {}", where, messages.size() + 1);
    SLICE_FORMAT_CHECK(message.is_object(), "{}: want an object, got {}", place,
                       message.type_name());
    const bool share_gpt = message.contains("from");
    messages.push_back(
        {role_of(field<std::string>(message, share_gpt ? "from" : "role", place)),
         content_of(message, message.contains("value") ? "value" : "content", place)});
  }
}

TextRecord conversation(std::vector<ChatMessage> messages) {
  TextRecord record;
  for (const ChatMessage& message : messages) {
    if (!record.text.empty()) record.text += '\n';
    record.text += message.content;
  }
  record.messages = std::move(messages);
  return record;
}

std::optional<TextRecord> read_conversation(const json& object, const std::string& where) {
  std::vector<ChatMessage> messages;
  if (const auto system = object.find("system"); system != object.end() && system->is_string())
    if (!system->get_ref<const std::string&>().empty()) messages.push_back({"system", *system});
  for (const char* key : {"messages", "conversations", "conversation"}) {
    if (!object.contains(key)) continue;
    append_messages(object[key], formatted("{}: '{}'", where, key), messages);
    return conversation(std::move(messages));
  }
  const auto prompt = object.find("prompt"), completion = object.find("completion");
  if (prompt == object.end() || completion == object.end() || !prompt->is_array())
    return std::nullopt;
  append_messages(*prompt, where + ": 'prompt'", messages);
  append_messages(*completion, where + ": 'completion'", messages);
  return conversation(std::move(messages));
}

/// instruction, an input that may be empty or missing, output   (tatsu-lab/stanford_alpaca; Dolly
/// says context and response)
std::optional<std::string> read_instruction(const json& object, const std::string& where) {
  auto text = first_text(object, {"instruction"}, where);
  if (!text) return std::nullopt;
  const std::string input = first_text(object, {"input", "context"}, where).value_or("");
  const auto output = first_text(object, {"output", "response"}, where);
  SLICE_FORMAT_CHECK(output, "{}: 'output' is missing", where);
  if (!input.empty()) *text += "\n" + input;
  return *text + "\n" + *output;
}

std::optional<std::string> read_pair(const json& object, const std::string& where) {
  const auto prompt = first_text(object, {"prompt"}, where);
  const auto completion = first_text(object, {"completion"}, where);
  if (prompt && completion) return *prompt + *completion;  // as they are: TRL, OpenAI
  const auto question = prompt ? prompt : first_text(object, {"question"}, where);
  const auto answer = first_text(object, {"response", "answer"}, where);
  if (question && answer) return *question + "\n" + *answer;
  return std::nullopt;
}

std::string keys_of(const json& object) {
  std::string keys;
  int count = 0;
  for (const auto& [key, value] : object.items()) {
    if (++count > 8) return keys + ", …";
    keys += (keys.empty() ? "'" : ", '") + key.substr(0, 40) + "'";
  }
  return keys.empty() ? "none" : keys;
}

/// The one member that is an array of objects, or nothing.
const json* only_list(const json& object) {
  const json* found = nullptr;
  for (const json& member : object) {
    if (!member.is_array() || member.empty() || !member.front().is_object()) continue;
    if (found != nullptr) return nullptr;
    found = &member;
  }
  return found;
}

std::optional<TextRecord> read_record(const json& value, const std::string& where) {
  if (value.is_string()) return TextRecord{value.get<std::string>(), {}};
  SLICE_FORMAT_CHECK(value.is_object(), "{}: want an object, got {}", where, value.type_name());
  if (auto text = first_text(value, {"text"}, where)) return TextRecord{*std::move(text), {}};
  if (auto chat = read_conversation(value, where)) return chat;
  if (auto text = read_instruction(value, where)) return TextRecord{*std::move(text), {}};
  if (auto text = read_pair(value, where)) return TextRecord{*std::move(text), {}};
  if (auto text = first_text(value, {"content"}, where)) return TextRecord{*std::move(text), {}};
  return std::nullopt;
}

}  // namespace

void read_records(const json& value, const std::string& where,
                  const std::function<void(TextRecord)>& on_record) {
  const auto wanted = [](const json& object, const std::string& place) {
    return FormatError(formatted(
        "{}: no text in it: want 'text', 'messages', 'conversations', 'instruction' and 'output', "
        "'prompt' and 'completion', or an array of such records; got {}",
        place, keys_of(object)));
  };
  if (auto record = read_record(value, where)) return on_record(*std::move(record));
  const json* list = only_list(value);
  if (list == nullptr) throw wanted(value, where);
  for (size_t i = 0; i < list->size(); ++i) {
    const std::string place = formatted("{}, record {}", where, i + 1);
    const json* element = &(*list)[i];
    if (element->contains("row")) element = &(*element)["row"];  // the Hub's viewer
    auto record = read_record(*element, place);
    if (!record) throw wanted(*element, place);
    on_record(*std::move(record));
  }
}

}  // namespace slice::detail
