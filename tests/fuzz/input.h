#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <string>
#include <string_view>

#include "libslice/base/error.h"
#include "libslice/text/tokenizer.h"
#include "tests/support/temporary_directory.h"

// What the fuzz targets share. Any input may be refused with a slice::Error; whatever else comes
// out of a target, and an input that takes longer than ten seconds, is a finding.

namespace slice::fuzz {

inline std::string_view as_text(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

/// Runs something that may refuse its input.
template <typename Action>
void refusable(Action action) {
  try {
    action();
  } catch (const Error&) {
  }
}

/// The text before the next zero byte, which is taken off `rest`: several texts in one input.
inline std::string_view next_text(std::string_view& rest) {
  const size_t end = std::min(rest.find('\0'), rest.size());
  const std::string_view text = rest.substr(0, end);
  rest.remove_prefix(std::min(end + 1, rest.size()));
  return text;
}

/// A directory that holds the texts of one input as files of these names; empty ones are absent.
inline std::filesystem::path directory_of(std::string_view input,
                                          std::initializer_list<const char*> names) {
  static const tests::TemporaryDirectory directory;
  for (const char* name : names) {
    const std::string_view text = next_text(input);
    if (text.empty()) {
      std::filesystem::remove(directory.path() / name);
    } else {
      directory.write(name, text);
    }
  }
  return directory.path();
}

/// Everything that a tokenizer does. Its text has words, numbers, white space, several scripts,
/// what a tokenizer may hold as one token, and words that are long.
inline void use_tokenizer(const Tokenizer& tokenizer) {
  static const std::string text =
      "A text isn't 1234.5 words,\n\n\t  and <0x41>\u2581<s> </s><|endoftext|> caf\u00e9 e\u0301 "
      "\u6f22\u5b57 \U0001f600 \u0627\u0644 " +
      std::string(3000, 'a') + std::string(3000, ' ') + std::string(3000, '1');
  for (const bool special : {false, true}) {
    refusable([&] { tokenizer.decode(tokenizer.encode(text, special), special); });
  }
  for (int64_t id = 0; id < std::min<int64_t>(tokenizer.vocabulary_size(), 300); ++id) {
    refusable([&] { tokenizer.decode(std::array{id}, true); });
  }
  tokenizer.bos_token();
  tokenizer.eos_tokens();
  tokenizer.chat_template();
  refusable([&] { tokenizer.files(); });
}

}  // namespace slice::fuzz
