// What a client gives a chat template: messages, tools and variables as JSON, and last a template,
// with a zero byte between two. Without a template one that uses everything.

#include "libslice/text/chat.h"
#include "tests/fuzz/byte_tokenizer.h"
#include "tests/fuzz/input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr char kTemplate[] =
      "{%- for m in messages %}[{{ m.role }}] {{ m.content }}{% for c in m.tool_calls or [] %}"
      "{{ c.function.name }}({{ c.function.arguments | tojson }}){% endfor %}\n{%- endfor %}"
      "{{ tools | tojson(indent=2) if tools }}{{ enable_thinking }}{{ custom | string | trim }}";
  using slice::fuzz::next_text;
  std::string_view rest = slice::fuzz::as_text(data, size);
  slice::ChatConversation conversation;
  conversation.messages = next_text(rest);
  conversation.tools = next_text(rest);
  conversation.variables = next_text(rest);
  conversation.add_generation_prompt = size % 2 == 0;
  const slice::fuzz::ByteTokenizer tokenizer(rest.empty() ? kTemplate : std::string(rest));
  slice::fuzz::refusable([&] { slice::render_conversation(tokenizer, conversation); });
  slice::fuzz::refusable([&] { slice::encode_conversation(tokenizer, conversation); });
  return 0;
}
