#include "libslice/text/incremental_decoder.h"

#include <catch2/catch_test_macros.hpp>
#include <random>

#include "libslice/base/detail/unicode.h"
#include "libslice/base/error.h"
#include "tests/support/matchers.h"

namespace slice {
namespace {

/// Tokens of bytes, of a SentencePiece kind: the first space of a text is left out. Id 0 is special.
class ByteTokens final : public Tokenizer {
 public:
  explicit ByteTokens(std::vector<std::string> tokens) : tokens_(std::move(tokens)) {}
  std::vector<int64_t> encode(std::string_view, bool) const override { return {}; }
  std::string decode(std::span<const int64_t> ids, bool special) const override {
    std::string text;
    for (const int64_t id : ids) {
      if (id < 0) throw ArgumentError("token id below 0");
      if (id != 0 || special) text += tokens_.at(static_cast<size_t>(id));
      longest_ = std::max(longest_, ids.size());
    }
    return text.starts_with(' ') ? text.substr(1) : text;
  }
  int64_t vocabulary_size() const override { return std::ssize(tokens_); }
  std::optional<int64_t> bos_token() const override { return 0; }
  std::vector<int64_t> eos_tokens() const override { return {}; }
  bool adds_bos() const override { return true; }
  std::string chat_template() const override { return {}; }
  std::vector<File> files() const override { return {}; }

  size_t longest() const { return longest_; }

 private:
  std::vector<std::string> tokens_;
  mutable size_t longest_ = 0;  // ids that were decoded at one time
};

const std::vector<std::string> kTokens = {
    "<s>",  " a",   "b",        " ",    "\xF0\x9F", "\x98", "\x80",     "é",
    "\xC3", "\xFF", "\xE2\x82", "\xAC", " €",       "\n\n", "\xED\xA0", "word word"};

std::string joined(IncrementalDecoder& decoder, std::span<const int64_t> ids) {
  std::string text;
  for (const int64_t id : ids) {
    const std::string piece = decoder.push(id);
    detail::check_utf8(piece, "a piece");
    text += piece;
  }
  return text + decoder.finish();
}

}  // namespace

TEST_CASE("pieces of a text are whole characters and join to all of it") {
  const ByteTokens tokens(kTokens);
  std::mt19937 random(1);
  for (int repeat = 0; repeat < 300; ++repeat) {
    std::vector<int64_t> all(random() % 120);
    for (int64_t& id : all) id = static_cast<int64_t>(random() % kTokens.size());
    const size_t prompt = all.empty() ? 0 : random() % all.size();
    // A prompt is a whole text: what it leaves open is no concern of what follows.
    if (detail::incomplete_utf8(tokens.decode(std::span(all).first(prompt), false)) > 0) continue;
    INFO("text " << repeat << " of " << all.size() << " ids, prompt of " << prompt);
    IncrementalDecoder decoder(tokens, std::span(all).first(prompt));
    const std::string before = tokens.decode(std::span(all).first(prompt), false);
    CHECK(joined(decoder, std::span(all).subspan(prompt)) ==
          detail::valid_utf8(tokens.decode(all, false).substr(before.size())));
  }
}

TEST_CASE("a character is given once it is whole") {
  const ByteTokens tokens(kTokens);
  IncrementalDecoder decoder(tokens);
  CHECK(decoder.push(4).empty());  // two bytes of an emoji
  CHECK(decoder.push(5).empty());
  CHECK(decoder.push(6) == "\xF0\x9F\x98\x80");
  CHECK(decoder.push(9) == "\uFFFD");  // no byte of UTF-8
  CHECK(decoder.push(10).empty());
  CHECK(decoder.push(2) ==
        "\uFFFD"
        "b");  // the character did not go on
  CHECK(decoder.push(8).empty());
  CHECK(decoder.finish() == "\uFFFD");
  CHECK(decoder.finish().empty());
}

TEST_CASE("a text keeps its first space after a prompt, and loses it alone") {
  const ByteTokens tokens(kTokens);
  const std::vector<int64_t> prompt = {0, 2};
  CHECK(IncrementalDecoder(tokens).push(1) == "a");
  CHECK(IncrementalDecoder(tokens, prompt).push(1) == " a");
  IncrementalDecoder special(tokens, std::vector<int64_t>(60, 0));  // a prompt without a text
  CHECK(special.push(1) == "a");
  CHECK(special.push(1) == " a");
}

TEST_CASE("a long text costs no more a token than a short one") {
  const ByteTokens tokens(kTokens);
  IncrementalDecoder decoder(tokens);
  for (int i = 0; i < 5000; ++i) CHECK(decoder.push(1) == (i == 0 ? "a" : " a"));
  CHECK(tokens.longest() <= 41);
  CHECK_THROWS_AS(decoder.push(-1), ArgumentError);
}

}  // namespace slice
