#pragma once

#include <string>
#include <vector>

#include "libslice/base/error.h"
#include "libslice/text/tokenizer.h"

namespace slice::tests {

/// One to three letters a token, every seventh a byte of "é" in turn, so that stop strings and
/// characters lie across tokens.
class LetterTokenizer final : public Tokenizer {
 public:
  explicit LetterTokenizer(int64_t size, std::vector<int64_t> ends = {})
      : size_(size), ends_(std::move(ends)) {}

  std::vector<int64_t> encode(std::string_view, bool) const override { return {}; }
  std::string decode(std::span<const int64_t> ids, bool) const override {
    std::string text;
    for (const int64_t id : ids) {
      if (id < 0) throw ArgumentError("token id below 0");
      const auto letter = static_cast<char>('a' + id % 26);
      text += id % 7 == 6 ? std::string(1, id % 2 == 0 ? '\xC3' : '\xA9')
                          : std::string(static_cast<size_t>(1 + id % 3), letter);
    }
    return text;
  }
  int64_t vocabulary_size() const override { return size_; }
  std::optional<int64_t> bos_token() const override { return std::nullopt; }
  std::vector<int64_t> eos_tokens() const override { return ends_; }
  bool adds_bos() const override { return false; }
  std::string chat_template() const override { return {}; }
  std::vector<File> files() const override { return {}; }

 private:
  int64_t size_;
  std::vector<int64_t> ends_;
};

}  // namespace slice::tests
