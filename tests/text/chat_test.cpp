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
