#include "libslice/text/encode_prompt.h"

#include <catch2/catch_test_macros.hpp>

namespace slice {
namespace {

using Ids = std::vector<int64_t>;

/// A token a letter; "^" is the beginning-of-sequence token where it may be written out.
class Letters final : public Tokenizer {
 public:
  Letters(std::optional<int64_t> bos, bool adds) : bos_(bos), adds_(adds) {}
  Ids encode(std::string_view text, bool special) const override {
    Ids ids;
    for (const char c : text) ids.push_back(special && c == '^' ? 0 : c);
    return ids;
  }
  std::string decode(std::span<const int64_t>, bool) const override { return {}; }
  int64_t vocabulary_size() const override { return 128; }
  std::optional<int64_t> bos_token() const override { return bos_; }
  Ids eos_tokens() const override { return {}; }
  bool adds_bos() const override { return adds_; }
  std::string chat_template() const override { return {}; }
  std::vector<File> files() const override { return {}; }

 private:
  std::optional<int64_t> bos_;
  bool adds_;
};

TEST_CASE("a prompt begins as the model expects it, and its special tokens are recognised") {
  CHECK(encode_prompt(Letters(0, true), "a^") == Ids{0, 'a', 0});
  CHECK(encode_prompt(Letters(0, true), "") == Ids{0});
  CHECK(encode_prompt(Letters(0, false), "a^") == Ids{'a', 0});
  CHECK(encode_prompt(Letters(std::nullopt, true), "ab") == Ids{'a', 'b'});
}

}  // namespace
}  // namespace slice
