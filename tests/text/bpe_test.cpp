#include "libslice/text/bpe.h"

#include <catch2/catch_test_macros.hpp>
#include <map>
#include <random>

#include "libslice/base/error.h"
#include "tests/support/heard_warnings.h"
#include "tests/support/tiny_vocabulary.h"

namespace slice {
namespace {

using tests::awkward_texts;
using tests::tiny_definition;

// Oracle: look at all neighbours, join the one of lowest priority, the leftmost of equals, start
// over.
std::vector<int32_t> merge_reference(std::vector<int32_t> symbols,
                                     const std::vector<MergeTable::Merge>& merges) {
  std::map<std::pair<int32_t, int32_t>, MergeTable::Merge> table;
  for (const auto& merge : merges) table[{merge.left, merge.right}] = merge;
  while (true) {
    const MergeTable::Merge* best = nullptr;
    size_t where = 0;
    for (size_t i = 0; i + 1 < symbols.size(); ++i) {
      const auto found = table.find({symbols[i], symbols[i + 1]});
      if (found == table.end()) continue;
      if (best && best->priority <= found->second.priority) continue;
      best = &found->second;
      where = i;
    }
    if (!best) return symbols;
    symbols[where] = best->merged;
    symbols.erase(symbols.begin() + static_cast<int64_t>(where) + 1);
  }
}

// Random tables over 6 letters, in which many priorities are equal.
std::vector<MergeTable::Merge> random_merges(std::mt19937& random, int32_t count) {
  std::vector<MergeTable::Merge> merges;
  for (int32_t i = 0; i < count; ++i) {
    const int32_t size = 6 + i;
    merges.push_back({static_cast<int32_t>(random() % size), static_cast<int32_t>(random() % size),
                      size, static_cast<int32_t>(random() % 10)});
  }
  return merges;
}

TEST_CASE("merging equals the slow oracle at every length", "[bpe]") {
  std::mt19937 random(0);
  for (int round = 0; round < 60; ++round) {
    const auto merges = random_merges(random, 40);
    const MergeTable table(merges);
    // Both sides of the length at which the heap takes over from the scan.
    for (const size_t length : {0, 1, 2, 3, 7, 20, 47, 48, 49, 50, 100, 400}) {
      std::vector<int32_t> symbols(length);
      for (int32_t& symbol : symbols) symbol = static_cast<int32_t>(random() % 6);
      const auto expected = merge_reference(symbols, merges);
      table.merge_inplace(symbols);
      REQUIRE(symbols == expected);
    }
  }
}

TEST_CASE("of a duplicate pair the last entry counts", "[bpe]") {
  const MergeTable table({{0, 1, 2, 0}, {0, 1, 3, 1}});
  std::vector<int32_t> symbols = {0, 1};
  table.merge_inplace(symbols);
  CHECK(symbols == std::vector<int32_t>{3});
}

TEST_CASE("a word of a million letters is merged in n log n", "[bpe]") {
  std::vector<MergeTable::Merge> merges;
  for (int32_t i = 0; i < 16; ++i) merges.push_back({i, i, i + 1, i});
  std::vector<int32_t> symbols(1 << 20, 0);
  MergeTable(merges).merge_inplace(symbols);
  CHECK(symbols == std::vector<int32_t>(16, 16));
}

TEST_CASE("encoding equals the oracle word by word", "[bpe]") {
  BpeDefinition definition = tiny_definition();
  definition.splits.clear();  // one word
  const auto tokenizer = make_bpe_tokenizer(definition);
  std::mt19937 random(1);
  for (int round = 0; round < 300; ++round) {
    std::string text;
    for (size_t i = random() % 80; i > 0; --i) text += "helo wab1 2'sd"[random() % 14];
    std::vector<int32_t> bytes;
    for (const char byte : text) bytes.push_back(2 + static_cast<uint8_t>(byte));
    const auto expected = merge_reference(bytes, definition.merges);
    REQUIRE(tokenizer->encode(text) == std::vector<int64_t>(expected.begin(), expected.end()));
  }
}

TEST_CASE("decode restores the encoded text", "[bpe]") {
  const auto tokenizer = make_bpe_tokenizer(tiny_definition());
  for (const std::string& text : awkward_texts()) {
    CHECK(tokenizer->decode(tokenizer->encode(text)) == text);
  }
}

TEST_CASE("digits are words of their own, and the white space before them is one word", "[bpe]") {
  const auto tokenizer = make_bpe_tokenizer(tiny_definition());
  // The merge "1 2" never applies, since each digit is a word of its own.
  CHECK(tokenizer->encode("12").size() == 2);
  // Look-ahead ends where the digit begins: both spaces form one word, "ĠĠ".
  CHECK(tokenizer->encode("a  1").size() == 3);
  CHECK(tokenizer->encode("a  b").size() == 4);
}

TEST_CASE("special tokens are recognised only on request", "[bpe]") {
  const auto tokenizer = make_bpe_tokenizer(tiny_definition());
  const std::string text = "<|begin|>hello<|end|>";
  const auto plain = tokenizer->encode(text), special = tokenizer->encode(text, true);
  CHECK(special.front() == 1);
  CHECK(special.back() == 0);
  CHECK(special.size() == 3);
  CHECK(std::ranges::count_if(plain, [](int64_t id) { return id < 2; }) == 0);
  CHECK(tokenizer->decode(plain) == text);
  CHECK(tokenizer->decode(special) == "hello");
  CHECK(tokenizer->decode(special, true) == text);
}

TEST_CASE("of added tokens at one place the longest counts", "[bpe]") {
  BpeDefinition definition = tiny_definition();
  const auto add = [&](const std::string& content) {
    const auto id = static_cast<int64_t>(definition.tokens.size());
    definition.tokens.push_back(content);
    definition.added.push_back({id, content, false, false, false, false});
    return id;
  };
  const int64_t two = add("--"), four = add("----");
  const auto tokenizer = make_bpe_tokenizer(definition);
  const int64_t dash = tokenizer->encode("-").front();
  CHECK(tokenizer->encode("-------") == std::vector<int64_t>{four, two, dash});
}

TEST_CASE("an added token takes in white space where it says so", "[bpe]") {
  BpeDefinition definition = tiny_definition();
  definition.added[0].left_strip = definition.added[0].right_strip = true;
  const auto tokenizer = make_bpe_tokenizer(definition);
  const auto ids = tokenizer->encode("a \u3000<|end|> \n a", true);
  CHECK(ids == std::vector<int64_t>{2 + 'a', 0, 2 + 'a'});
}

TEST_CASE("white space squeezed and trimmed before a text is cut", "[bpe]") {
  BpeDefinition definition = tiny_definition();
  definition.normalizers = {{Normalizer::Kind::kSqueeze, " ", ""},
                            {Normalizer::Kind::kTrimEnd, "!", ""}};
  const auto tokenizer = make_bpe_tokenizer(definition);
  for (const auto& [text, normalized] : {std::pair("  a   b !!", "a b "), std::pair("   ", ""),
                                         std::pair("a!b", "a!b"), std::pair("!!", "")}) {
    CHECK(tokenizer->decode(tokenizer->encode(text)) == normalized);
  }
  for (Normalizer& normalizer : definition.normalizers) normalizer.from = "";
  CHECK(make_bpe_tokenizer(definition)->encode(" a!").size() == 3);
}

TEST_CASE("text that is not UTF-8 is refused with the offset", "[bpe]") {
  const auto tokenizer = make_bpe_tokenizer(tiny_definition());
  const std::pair<const char*, const char*> table[] = {
      {"abc\xFF", "byte 3"},
      {"\xC0\x80", "byte 0"},                 // overlong
      {"0123456789\xED\xA0\x80", "byte 10"},  // surrogate
      {"\xF4\x90\x80\x80", "byte 0"},         // above U+10FFFF
      {"eight by\xE2\x82", "byte 8"},         // cut off
  };
  for (const auto& [text, offset] : table) {
    try {
      tokenizer->encode(text);
      FAIL("accepted " << offset);
    } catch (const FormatError& error) {
      CHECK(std::string(error.what()).ends_with(offset));
    }
  }
}

TEST_CASE("an id below the vocabulary is refused, one beyond it has no text", "[bpe]") {
  const auto tokenizer = make_bpe_tokenizer(tiny_definition());
  CHECK_THROWS_AS(tokenizer->decode(std::vector<int64_t>{-1}), ArgumentError);
  const int64_t a = tokenizer->encode("a").front();
  for (const int64_t id : {tokenizer->vocabulary_size(), INT64_MAX}) {
    CHECK(tokenizer->decode(std::vector<int64_t>{a, id, a}) == "aa");
  }
}

TEST_CASE("what no text can use is left out with a warning", "[bpe]") {
  const auto warned = [](auto change, const std::string& part) {
    const tests::HeardWarnings heard;
    BpeDefinition definition = tiny_definition();
    change(definition);
    const auto tokenizer = make_bpe_tokenizer(definition);
    CHECK(tokenizer->decode(tokenizer->encode("hello")) == "hello");
    if (part.empty()) {
      CHECK(heard.text().empty());
    } else {
      CHECK(heard.text().starts_with("tiny: "));
      CHECK(heard.text().find(part) != std::string::npos);
    }
  };
  warned([](auto& d) { d.tokens.push_back(""); }, "");
  warned([](auto& d) { d.tokens.push_back("\xFF"); }, "not UTF-8 are ignored: ");
  warned([](auto& d) { d.tokens.push_back(d.tokens[6]); }, " as 6");
  warned([](auto& d) { d.tokens[1] = ""; }, "added tokens outside the vocabulary are ignored: 1");
  warned([](auto& d) { d.added[0].id = 100000; }, "are ignored: 100000");
  warned([](auto& d) { d.merges[19].merged = -1; }, "merges of ids without a token are ignored: 1");
  warned([](auto& d) { d.eos = {100000, 0}; }, "end-of-sequence tokens outside");
  warned([](auto& d) { d.padding = -5; }, "padding token -5 is not a token");
  warned([](auto& d) { d.bos.reset(), d.adds_bos = true; }, "none is added");
  warned([](auto& d) { d.eos.assign(9, 100000); }, "100000, 100000, 100000 and 6 more");
}

TEST_CASE("a single-word token stands alone", "[bpe]") {
  BpeDefinition definition = tiny_definition();
  definition.added[0].single_word = true;
  definition.added[0].content = definition.tokens[0] = "end";
  const auto tokenizer = make_bpe_tokenizer(definition);
  const auto found = [&](const std::string& text) {
    return std::ranges::count(tokenizer->encode(text, true), 0);
  };
  CHECK(found("end") == 1);
  CHECK(found("the end.") == 1);
  CHECK(found("ends") == 0);
  CHECK(found("\u00e9end") == 0);
  CHECK(found("end end_ end") == 2);
}

TEST_CASE("characters that are dropped make neighbours of those around them", "[bpe]") {
  BpeDefinition definition;
  definition.source = "tiny";
  definition.alphabet = BpeDefinition::Alphabet::kCharacters;
  definition.tokens = {"a", "b", "ab", "<0x0A>"};
  definition.byte_fallback = true;
  definition.merges = {{0, 1, 2, 0}};
  CHECK(make_bpe_tokenizer(definition)->encode("a\u00e9\u6f22b\n") == std::vector<int64_t>{2, 3});
}

TEST_CASE("byte tokens take part in merges", "[bpe]") {
  BpeDefinition definition;
  definition.source = "tiny";
  definition.alphabet = BpeDefinition::Alphabet::kCharacters;
  definition.tokens = {"a", "<0x0A>", "<0x0A><0x0A>"};
  definition.byte_fallback = true;
  definition.merges = {{1, 1, 2, 0}};
  CHECK(make_bpe_tokenizer(definition)->encode("a\n\n\na") == std::vector<int64_t>{0, 2, 1, 0});
}

TEST_CASE("a malformed definition is refused", "[bpe]") {
  const auto refused = [](auto change) {
    BpeDefinition definition = tiny_definition();
    change(definition);
    CHECK_THROWS_AS(make_bpe_tokenizer(definition), FormatError);
  };
  refused([](auto& d) { d.tokens.clear(); });
  refused([](auto& d) { d.splits[0].pattern = "(unclosed"; });
  refused([](auto& d) { d.splits[0].pattern = "\xFF"; });
  refused([](auto& d) { d.chat_template = "\xFF"; });
}

}  // namespace
}  // namespace slice
