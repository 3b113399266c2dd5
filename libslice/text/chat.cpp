#include "libslice/text/chat.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/python_json.h"
#include "libslice/base/detail/unicode.h"
#include "libslice/text/detail/chat_json.h"
#include "libslice/text/jinja/jinja.h"

namespace slice {
namespace {

using detail::jinja::None;
using detail::jinja::Value;

Value messages_value(std::span<const ChatMessage> messages) {
  std::vector<Value> values;
  for (const ChatMessage& message : messages) {
    const std::string name = detail::formatted("message {}", values.size());
    detail::check_utf8(message.role, name);
    detail::check_utf8(message.content, name);
    values.push_back(Value::dict({{"role", message.role}, {"content", message.content}}));
  }
  return Value::list(std::move(values));
}

// `"…"` or `{"content": "…"}` under a name, if there is no variable of that name yet.
void add_name(const std::string& name, const nlohmann::json& token,
              std::map<std::string, Value>& variables) {
  const auto content = token.is_object() ? token.find("content") : token.end();
  const nlohmann::json& text = content == token.end() ? token : *content;
  if (text.is_string()) variables.emplace(name, text.get<std::string>());
}

// The special tokens that the tokenizer's configuration names: pad_token, unk_token, and whatever
// else ends so, or is listed as a token of this model.
void add_named_tokens(const Tokenizer& tokenizer, std::map<std::string, Value>& variables) {
  const std::vector<Tokenizer::File> files = tokenizer.files();
  for (const char* name : {"tokenizer_config.json", "special_tokens_map.json"}) {
    const auto file = std::ranges::find(files, name, &Tokenizer::File::name);
    if (file == files.end()) continue;
    const nlohmann::json config = detail::parse_python_json(file->bytes, file->name);
    for (const auto& [key, value] : config.items()) {
      const bool lists = key == "extra_special_tokens" || key == "model_specific_special_tokens";
      if (key.ends_with("_token")) add_name(key, value, variables);
      if (!lists || !value.is_object()) continue;
      for (const auto& [inner, token] : value.items()) add_name(inner, token, variables);
    }
  }
}

std::string render(const Tokenizer& tokenizer, std::map<std::string, Value> variables) {
  const std::string source = tokenizer.chat_template();
  SLICE_FORMAT_CHECK(!source.empty(), "the tokenizer has no chat template");
  variables.emplace("documents", None());
  const auto name_token = [&](const char* name, int64_t id) {
    variables.emplace(name, tokenizer.decode(std::span(&id, 1), /*special=*/true));
  };
  if (const auto bos = tokenizer.bos_token()) name_token("bos_token", *bos);
  if (const auto eos = tokenizer.eos_tokens(); !eos.empty()) name_token("eos_token", eos.front());
  add_named_tokens(tokenizer, variables);
  return detail::jinja::render(source, "chat_template", variables);
}

std::vector<int64_t> encode(const Tokenizer& tokenizer, const std::string& text) {
  std::vector<int64_t> ids = tokenizer.encode(text, /*special=*/true);
  const auto bos = tokenizer.bos_token();
  if (tokenizer.adds_bos() && bos && (ids.empty() || ids.front() != *bos)) {
    ids.insert(ids.begin(), *bos);
  }
  return ids;
}

}  // namespace

std::string render_chat(const Tokenizer& tokenizer, std::span<const ChatMessage> messages,
                        bool add_generation_prompt) {
  return render(tokenizer, {{"messages", messages_value(messages)},
                            {"add_generation_prompt", add_generation_prompt},
                            {"tools", None()}});
}

std::string render_conversation(const Tokenizer& tokenizer, const ChatConversation& conversation) {
  // What has a meaning of its own is no variable of the caller's.
  std::map<std::string, Value> variables = {
      {"messages", detail::messages_of_json(conversation.messages)},
      {"add_generation_prompt", conversation.add_generation_prompt},
      {"tools", detail::tools_of_json(conversation.tools)}};
  variables.merge(detail::variables_of_json(conversation.variables));
  return render(tokenizer, std::move(variables));
}

std::vector<int64_t> encode_chat(const Tokenizer& tokenizer, std::span<const ChatMessage> messages,
                                 bool add_generation_prompt) {
  return encode(tokenizer, render_chat(tokenizer, messages, add_generation_prompt));
}

std::vector<int64_t> encode_conversation(const Tokenizer& tokenizer,
                                         const ChatConversation& conversation) {
  return encode(tokenizer, render_conversation(tokenizer, conversation));
}

}  // namespace slice
