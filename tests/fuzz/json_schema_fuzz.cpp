// A schema, and after a zero byte a text that is written by it, byte by byte. What it takes to its
// end is JSON.

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "libslice/text/json_grammar.h"
#include "tests/fuzz/byte_tokenizer.h"
#include "tests/fuzz/input.h"

namespace {

/// Follows the bytes that fit and, where one does not, the first that does.
void write(slice::JsonText& json, std::string_view bytes) {
  std::string text;
  for (const char c : bytes.substr(0, 300)) {
    std::array<uint8_t, 256> allowed = {};
    json.allow(allowed);
    auto byte = static_cast<uint8_t>(c);
    if (!allowed[byte])
      byte = static_cast<uint8_t>(std::ranges::find(allowed, 1) - allowed.begin());
    if (json.may_end() && !nlohmann::json::accept(text)) std::abort();
    if (!allowed[byte]) {
      if (!json.may_end()) std::abort();  // a dead end
      return;
    }
    if (!json.push(byte)) std::abort();
    text += static_cast<char>(byte);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto tokens =
      std::make_shared<const slice::TokenBytes>(slice::fuzz::ByteTokenizer());
  std::string_view rest = slice::fuzz::as_text(data, size);
  const std::string_view schema = slice::fuzz::next_text(rest);
  slice::fuzz::refusable([&] {
    slice::JsonText json(slice::JsonGrammar::of_schema(schema), tokens);
    write(json, rest);
  });
  return 0;
}
