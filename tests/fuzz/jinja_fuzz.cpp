// A chat template, rendered for a conversation; after a zero byte the text of its last message.

#include "libslice/text/jinja/jinja.h"
#include "tests/fuzz/input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace slice::detail::jinja;
  std::string_view rest = slice::fuzz::as_text(data, size);
  const std::string_view source = slice::fuzz::next_text(rest);
  const auto message = [](const char* role, std::string content) {
    return Value::dict({{"role", role}, {"content", std::move(content)}});
  };
  const std::map<std::string, Value> variables = {
      {"messages",
       Value::list({message("system", "Be brief."), message("user", " What?\n"),
                    message("assistant", "That."), message("user", std::string(rest))})},
      {"add_generation_prompt", true},
      {"bos_token", "<s>"},
      {"eos_token", "</s>"},
      {"tools", None()},
      {"documents", None()}};
  slice::fuzz::refusable([&] { render(source, "template", variables); });
  return 0;
}
