#include "libslice/text/chat.h"

#include <catch2/catch_test_macros.hpp>

#include "libslice/text/bpe.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/tiny_vocabulary.h"
#include "tests/support/tokenizer_files.h"

namespace slice {
namespace {

using tests::check_contains;
using tests::refusal;
using tests::tiny_definition;

const std::vector<ChatMessage> kTalk = {
    {"system", "be brief"}, {"user", "hello"}, {"assistant", "hello world"}, {"user", "é\n"}};

std::shared_ptr<const Tokenizer> tokenizer_with(const std::string& chat_template,
                                                bool adds_bos = false) {
  BpeDefinition definition = tiny_definition();
  definition.chat_template = chat_template;
  definition.adds_bos = adds_bos;
  return make_bpe_tokenizer(std::move(definition));
}

TEST_CASE("a template is given messages, the prompt flag and the special tokens", "[chat]") {
  const auto tokenizer = tokenizer_with(
      "{{ bos_token }}{% for m in messages %}[{{ m['role'] }}: {{ m.content }}]{% endfor %}"
      "{{ eos_token }}{% if add_generation_prompt %}>{% endif %}"
      "{{ tools is none and documents is none }}");
  CHECK(render_chat(*tokenizer, kTalk) ==
        "<|begin|>[system: be brief][user: hello][assistant: hello world][user: é\n]<|end|>>True");
  CHECK(render_chat(*tokenizer, std::span(kTalk).first(1), false) ==
        "<|begin|>[system: be brief]<|end|>True");
  CHECK(render_chat(*tokenizer, {}) == "<|begin|><|end|>>True");
}

TEST_CASE("bos_token is undefined where the model has none", "[chat]") {
  BpeDefinition definition = tiny_definition();
  definition.bos.reset();
  definition.chat_template = "{{ bos_token is defined }}{{ bos_token }}";
  CHECK(render_chat(*make_bpe_tokenizer(std::move(definition)), kTalk) == "False");
}

TEST_CASE("a template is given the special tokens that the configuration names", "[chat]") {
  const tests::TemporaryDirectory directory;
  tests::write_files(*tokenizer_with(""), directory);
  directory.write("chat_template.jinja",
                  "{{ bos_token }}{{ pad_token }}{{ image_token }}{{ tool_mark }}{{ eos_token }}"
                  "{{ unk_token is defined }}{{ model_max_length is defined }}");
  directory.write("tokenizer_config.json",
                  R"({"bos_token": "<|begin|>", "pad_token": {"content": "<|end|>"},
                      "eos_token": "<|end|>", "unk_token": null, "image_token": "hello", "model_max_length": 5,
                      "extra_special_tokens": {"tool_mark": "world"}})");
  CHECK(render_chat(*load_tokenizer(directory.path()), kTalk) ==
        "<|begin|><|end|>helloworld<|end|>FalseFalse");
}

TEST_CASE("a chat begins with bos once, whether the template writes it or not", "[chat]") {
  const std::string body = "{{ messages[1].content }}{{ eos_token }}";
  const auto plain = tokenizer_with(body);
  const std::vector<int64_t> ids = encode_chat(*plain, kTalk);
  CHECK(ids == plain->encode("hello<|end|>", /*special=*/true));
  CHECK(ids.back() == 0);
  std::vector<int64_t> with_bos = ids;
  with_bos.insert(with_bos.begin(), 1);
  CHECK(encode_chat(*tokenizer_with("{{ bos_token }}" + body), kTalk) == with_bos);
  CHECK(encode_chat(*tokenizer_with(body, true), kTalk) == with_bos);
  CHECK(encode_chat(*tokenizer_with("{{ bos_token }}" + body, true), kTalk) == with_bos);
  CHECK(encode_chat(*tokenizer_with("{{ ' ' }}", true), {}) ==
        std::vector<int64_t>{1, plain->encode(" ").front()});
  // lstrip_blocks: spaces before a comment that begins a line go with it.
  CHECK(encode_chat(*tokenizer_with(" {# nothing #}", true), {}) == std::vector<int64_t>{1});
}

TEST_CASE("a conversation as JSON reaches the template with all its members", "[chat]") {
  const auto tokenizer = tokenizer_with(
      "{% for m in messages %}{{ m | tojson }}\n{% endfor %}{{ tools | tojson }}{{ mood }}"
      "{{ add_generation_prompt }}{{ documents is none }}");
  const ChatConversation conversation = {
      .messages = R"([{"role": "user", "content": [{"type": "text", "text": "a"},
                                                   {"text": "é", "type": "text"}]},
                      {"role": "assistant", "content": null, "tool_calls": [
                         {"id": "1", "function": {"name": "f", "arguments": "{\"z\": 1, \"b\": [2.5]}"}}]},
                      {"role": "tool", "tool_call_id": "1", "content": "7"}])",
      .tools = R"([{"type": "function", "function": {"name": "f"}}])",
      .variables = R"({"mood": "calm", "add_generation_prompt": "no", "tools": 1})",
      .add_generation_prompt = false};
  CHECK(
      render_conversation(*tokenizer, conversation) ==
      "{\"role\": \"user\", \"content\": \"a\\né\"}\n"
      "{\"role\": \"assistant\", \"content\": null, \"tool_calls\": [{\"id\": \"1\", \"function\": "
      "{\"name\": \"f\", \"arguments\": {\"z\": 1, \"b\": [2.5]}}}]}\n"
      "{\"role\": \"tool\", \"tool_call_id\": \"1\", \"content\": \"7\"}\n"
      "[{\"type\": \"function\", \"function\": {\"name\": \"f\"}}]calmFalseTrue");
  CHECK(encode_conversation(*tokenizer, conversation) ==
        tokenizer->encode(render_conversation(*tokenizer, conversation), /*special=*/true));
  const std::string simple =
      R"([{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"},
                                 {"role": "assistant", "content": "hello world"}, {"role": "user", "content": "é\n"}])";
  const auto plain = tokenizer_with("{{ messages }}{{ tools is none }}{{ add_generation_prompt }}");
  CHECK(render_conversation(*plain, {.messages = simple}) == render_chat(*plain, kTalk));
}

TEST_CASE("a conversation that is none is refused by what it lacks", "[chat]") {
  const auto refused = [](const std::string& messages, const std::string& tools = "") {
    return refusal(
        [&] { render_conversation(*tokenizer_with("x"), {.messages = messages, .tools = tools}); });
  };
  check_contains(refused("["), "messages");
  check_contains(refused("{}"), "messages: want an array");
  check_contains(refused("[1]"), "message 0: want an object");
  check_contains(refused("[{}]"), "message 0: 'role': want a string");
  check_contains(refused(R"([{"role": "user", "content": 1}])"), "message 0: 'content': want text");
  check_contains(refused(R"([{"role": "user", "content": [{"type": "image_url"}]}])"), "'content'");
  check_contains(refused(R"([{"role": "user", "content": [{"type": "text"}]}])"), "'content'");
  check_contains(refused(R"([{"role": "user", "content": ["text"]}])"), "'content'");
  check_contains(refused(R"([{"role": "a", "tool_calls": 1}])"), "'tool_calls': want an array");
  check_contains(refused(R"([{"role": "a", "tool_calls": [1]}])"), "with a 'function'");
  check_contains(refused(R"([{"role": "a", "tool_calls": [{"function": {"arguments": "{"}}]}])"),
                 "message 0: 'arguments'");
  check_contains(refused(R"([{"role": "a", "n": 9999999999999999999}])"), "past 64 bits");
  check_contains(refused("[]", "{}"), "tools: want an array");
  check_contains(refused("[]", "[1]"), "tools: want objects");
  check_contains(refused(std::string(70, '[')), "nested more than 64");
}

TEST_CASE("what cannot be rendered is refused", "[chat]") {
  const auto refused = [](const std::string& source, std::vector<ChatMessage> messages) {
    return refusal([&] { render_chat(*tokenizer_with(source), messages); });
  };
  check_contains(refused("", kTalk), "no chat template");
  check_contains(refused("a\n{{ 'x'", kTalk), "chat_template: line 2: '{{' without '}}'");
  check_contains(refused("{{ raise_exception('no ' + messages[0].role) }}", kTalk),
                 "chat_template: line 1: the template refuses: no system");
  check_contains(refused("{{ messages }}", {{"user", "hello"}, {"user", "\xff"}}),
                 "message 1: not UTF-8 at byte 0");
}

TEST_CASE("the template of a directory: chat_template.jinja, else tokenizer_config.json",
          "[chat]") {
  const tests::TemporaryDirectory directory;
  tests::write_files(*tokenizer_with(""), directory);
  const auto found = [&](const std::string& config) {
    directory.write("tokenizer_config.json", config);
    return load_tokenizer(directory.path())->chat_template();
  };
  CHECK(found("{}").empty());
  CHECK(found(R"({"chat_template": null})").empty());
  CHECK(found(R"({"chat_template": "{{ 1 }}"})") == "{{ 1 }}");
  CHECK(found(R"({"chat_template": [{"name": "rag", "template": "r"},
                                    {"name": "default", "template": "d"}]})") == "d");
  CHECK(found(R"({"chat_template": [{"name": "rag", "template": "r"}]})").empty());
  for (const char* config :
       {R"({"chat_template": 1})", R"({"chat_template": {"default": "d"}})",
        R"({"chat_template": ["d"]})", R"({"chat_template": [{"template": "d"}]})",
        R"({"chat_template": [{"name": "default"}]})"}) {
    check_contains(refusal([&] { found(config); }), "tokenizer_config.json");
  }
  directory.write("chat_template.jinja", "{{ 2 }}\n");
  CHECK(found(R"({"chat_template": "{{ 1 }}"})") == "{{ 2 }}\n");
}

}  // namespace
}  // namespace slice
