#include "libslice/text/chat.h"

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/unicode.h"
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

}  // namespace

std::string render_chat(const Tokenizer& tokenizer, std::span<const ChatMessage> messages,
                        bool add_generation_prompt) {
  const std::string source = tokenizer.chat_template();
  SLICE_FORMAT_CHECK(!source.empty(), "the tokenizer has no chat template");
  std::map<std::string, Value> variables = {{"messages", messages_value(messages)},
                                            {"add_generation_prompt", add_generation_prompt},
                                            {"tools", None()},
                                            {"documents", None()}};
  const auto name_token = [&](const char* name, int64_t id) {
    variables.emplace(name, tokenizer.decode(std::span(&id, 1), /*special=*/true));
  };
  if (const auto bos = tokenizer.bos_token()) name_token("bos_token", *bos);
  if (const auto eos = tokenizer.eos_tokens(); !eos.empty()) name_token("eos_token", eos.front());
  return detail::jinja::render(source, "chat_template", variables);
}

std::vector<int64_t> encode_chat(const Tokenizer& tokenizer, std::span<const ChatMessage> messages,
                                 bool add_generation_prompt) {
  const std::string text = render_chat(tokenizer, messages, add_generation_prompt);
  std::vector<int64_t> ids = tokenizer.encode(text, /*special=*/true);
  const auto bos = tokenizer.bos_token();
  if (tokenizer.adds_bos() && bos && (ids.empty() || ids.front() != *bos)) {
    ids.insert(ids.begin(), *bos);
  }
  return ids;
}

}  // namespace slice
