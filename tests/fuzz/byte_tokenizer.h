#pragma once

#include <string>
#include <utility>
#include <vector>

#include "libslice/text/tokenizer.h"

namespace slice::fuzz {

/// A token a byte; id 256 ends a text.
class ByteTokenizer final : public Tokenizer {
 public:
  static constexpr int64_t kEnd = 256;

  explicit ByteTokenizer(std::string chat_template = "")
      : chat_template_(std::move(chat_template)) {}

  std::vector<int64_t> encode(std::string_view text, bool) const override {
    std::vector<int64_t> ids;
    for (const char c : text) ids.push_back(static_cast<uint8_t>(c));
    return ids;
  }
  std::string decode(std::span<const int64_t> ids, bool special) const override {
    std::string text;
    for (const int64_t id : ids) {
      if (id < kEnd) text += static_cast<char>(id);
      if (id == kEnd && special) text += "</s>";
    }
    return text;
  }
  int64_t vocabulary_size() const override { return kEnd + 1; }
  std::optional<int64_t> bos_token() const override { return std::nullopt; }
  std::vector<int64_t> eos_tokens() const override { return {kEnd}; }
  bool adds_bos() const override { return false; }
  std::string chat_template() const override { return chat_template_; }
  std::vector<File> files() const override { return {}; }

 private:
  std::string chat_template_;
};

}  // namespace slice::fuzz
