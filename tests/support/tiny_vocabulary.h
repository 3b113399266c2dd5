#pragma once

#include <algorithm>
#include <array>
#include <string>
#include <utility>
#include <vector>

#include "libslice/base/detail/unicode.h"
#include "libslice/text/bpe.h"
#include "libslice/text/detail/byte_alphabet.h"

namespace slice::tests {

/// The 256 bytes and a handful of merges: a vocabulary small enough to follow by hand.
inline const std::vector<std::pair<std::string, std::string>>& tiny_merges() {
  static const std::vector<std::pair<std::string, std::string>> merges = {
      {"h", "e"}, {"l", "l"},  {"he", "ll"}, {"hell", "o"}, {"Ġ", "w"},  {"o", "r"},  {"Ġw", "or"},
      {"a", "a"}, {"aa", "a"}, {"aa", "aa"}, {"Ġ", "Ġ"},    {"ĠĠ", "Ġ"}, {"Ã", "©"},  {"1", "2"},
      {"'", "s"}, {"l", "d"},  {"b", "a"},   {"a", "b"},    {"ab", "a"}, {"ba", "b"},
  };
  return merges;
}

/// Special token 0 `<|end|>`, special token 1 `<|begin|>`, the bytes from 2 on, then the merges.
inline BpeDefinition tiny_definition() {
  BpeDefinition definition;
  definition.source = "tiny";
  definition.tokens = {"<|end|>", "<|begin|>"};
  for (const char32_t character : detail::byte_alphabet()) {
    definition.tokens.push_back(detail::to_utf8(character));
  }
  const auto id_of = [&](const std::string& token) {
    const auto found = std::ranges::find(definition.tokens, token);
    return static_cast<int32_t>(found - definition.tokens.begin());
  };
  for (const auto& [left, right] : tiny_merges()) {
    if (std::ranges::find(definition.tokens, left + right) == definition.tokens.end()) {
      definition.tokens.push_back(left + right);
    }
    definition.merges.push_back({id_of(left), id_of(right), id_of(left + right),
                                 static_cast<int32_t>(definition.merges.size())});
  }
  definition.added = {{0, "<|end|>", true, false, false, false},
                      {1, "<|begin|>", true, false, false, false}};
  definition.splits = {
      {R"(\p{N})", Split::Matches::kIsolated, false},
      {R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)",
       Split::Matches::kIsolated, false}};
  definition.bos = 1;
  definition.eos = {0};
  definition.chat_template = "{{ messages }}";
  return definition;
}

/// Text that tokenizers trip over.
inline std::vector<std::string> awkward_texts() {
  return {"",
          " ",
          "hello world",
          "hello  world's   end  ",
          "don't we'll I'd 'S ''s",
          "line\r\nline\r\n\r\n\tend\n",
          "12 345 6.78e9 ½ ٣٤",
          "café cafe\u0301 é",
          "漢字かな。한국어 ไทย",
          "😀👩‍👩‍👧‍👦🇫🇷👍🏽",
          "\u00a0a\u2003b\u3000c\u2028d\u0085e\u000bf",
          "if (x) {\n    return a[0] ** 2;\n}\n",
          std::string(1000, 'a') + "b",
          std::string(300, ' ') + "x",
          std::string("nul\0nul", 7),
          "\u2581under\u2581score \u2581"};
}

}  // namespace slice::tests
