#include <fmt/core.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <fstream>
#include <iterator>

#include "libslice/text/tokenizer.h"
#include "tests/support/heard_warnings.h"
#include "tests/support/hostile_bytes.h"
#include "tests/support/pieces_file.h"
#include "tests/support/places.h"
#include "tests/support/tiny_vocabulary.h"
#include "tests/support/tokenizer_files.h"

namespace slice {
namespace {

using tests::awkward_texts;
using tests::check_contains;
using tests::file_of;
using tests::PiecesFile;
using tests::refusal;
using tests::TemporaryDirectory;
using Ids = std::vector<int64_t>;

enum : uint64_t { kModelType = 3, kSuffix = 24, kByteFallback = 35, kBosId = 41, kEosId = 42 };
enum : uint64_t { kName = 1, kCharsmap = 2, kAddsSpace = 3, kRemovesSpaces = 4, kEscapes = 5 };

// LLaMA-2's options and special tokens, with few words.
PiecesFile tiny_pieces(bool with_bytes = true) {
  PiecesFile file;
  file.add("<unk>", 0, 2);
  file.add("<s>", 0, 3);
  file.add("</s>", 0, 3);
  for (int byte = 0; with_bytes && byte < 256; ++byte) {
    file.add(fmt::format("<0x{:02X}>", byte), 0, 6);
  }
  for (const char* word : {"he", "ll", "▁he", "hello", "llo", "▁▁", "aa", "aaa"}) {
    file.add(word, -static_cast<float>(file.texts.size()));
  }
  for (const char* letter : {"▁", "h", "e", "l", "o", "a", "b"}) file.add(letter, -1000);
  file.trainer = PiecesFile::number(kModelType, 2) + PiecesFile::number(kByteFallback, with_bytes);
  file.normalizer = PiecesFile::text(kName, "identity") + PiecesFile::number(kRemovesSpaces, 0);
  return file;
}

int64_t id_of(const PiecesFile& file, const std::string& piece) {
  return std::ranges::find(file.texts, piece) - file.texts.begin();
}

std::shared_ptr<const Tokenizer> load(
    const std::string& bytes,
    std::initializer_list<std::pair<const char*, const char*>> more = {}) {
  const TemporaryDirectory directory;
  directory.write("tokenizer.model", bytes);
  for (const auto& [name, text] : more) directory.write(name, text);
  return load_tokenizer(directory.path());
}

TEST_CASE("SentencePiece joins the pair with the highest score", "[tokenizer]") {
  const PiecesFile file = tiny_pieces();
  const auto tokenizer = load(file.bytes());
  CHECK(tokenizer->vocabulary_size() == std::ssize(file.texts));
  CHECK(tokenizer->encode("hello") == Ids{id_of(file, "▁he"), id_of(file, "llo")});
  CHECK(tokenizer->encode("aaa") == Ids{id_of(file, "▁"), id_of(file, "aaa")});
  CHECK(tokenizer->encode("é") == Ids{id_of(file, "▁"), 3 + 0xC3, 3 + 0xA9});
  CHECK(tokenizer->encode("<s>hello") != tokenizer->encode("<s>hello", true));
  CHECK(tokenizer->encode("<s>he</s>", true) == Ids{1, id_of(file, "▁he"), 2});
  CHECK(tokenizer->encode("").empty());
  for (const std::string& text : awkward_texts()) {
    // U+2581 is a space to SentencePiece.
    if (text.find("\u2581") != std::string::npos) continue;
    CHECK(tokenizer->decode(tokenizer->encode(text)) == text);
  }
  check_contains(refusal([&] { tokenizer->encode("abc\xFF"); }), "byte 3");
}

TEST_CASE("unknown characters in a row make one token where there are no bytes", "[tokenizer]") {
  const PiecesFile file = tiny_pieces(false);
  const auto tokenizer = load(file.bytes());
  CHECK(tokenizer->encode("aé漢a") == Ids{id_of(file, "▁"), id_of(file, "a"), 0, id_of(file, "a")});
}

TEST_CASE("SentencePiece's options of spaces", "[tokenizer]") {
  PiecesFile file = tiny_pieces();
  const int64_t space = id_of(file, "▁"), two = id_of(file, "▁▁");
  const int64_t a = id_of(file, "a"), b = id_of(file, "b");
  file.normalizer = PiecesFile::number(kRemovesSpaces, 0);
  CHECK(load(file.bytes())->encode(" a  b ") == Ids{two, a, two, b, space});
  file.normalizer = PiecesFile::number(kRemovesSpaces, 0) + PiecesFile::number(kAddsSpace, 0);
  CHECK(load(file.bytes())->encode(" a  b ") == Ids{space, a, two, b, space});
  CHECK(load(file.bytes())->decode(Ids{space, a}) == " a");
  file.normalizer = "";  // both are true
  CHECK(load(file.bytes())->encode("  a   b  ") == Ids{space, a, space, b});
  CHECK(load(file.bytes())->encode("  ").empty());
}

TEST_CASE("user-defined symbols are found in the normalised text", "[tokenizer]") {
  PiecesFile file = tiny_pieces();
  file.add("▁a▁", 0, 4);
  const int64_t symbol = std::ssize(file.texts) - 1;
  const int64_t space = id_of(file, "▁"), a = id_of(file, "a");
  const auto tokenizer = load(file.bytes());
  CHECK(tokenizer->encode("a a a") == Ids{symbol, a, space, a});
  CHECK(tokenizer->encode("aa a ") == Ids{space, id_of(file, "aa"), symbol});
}

TEST_CASE("which token begins a text that SentencePiece cut", "[tokenizer]") {
  PiecesFile file = tiny_pieces();
  CHECK(load(file.bytes())->adds_bos());
  CHECK(load(file.bytes())->bos_token() == 1);
  CHECK(load(file.bytes())->eos_tokens() == Ids{2});
  const auto silent =
      load(file.bytes(), {{"tokenizer_config.json", R"({"add_bos_token": false})"}});
  CHECK_FALSE(silent->adds_bos());
  CHECK(silent->bos_token() == 1);
  const auto named = load(file.bytes(), {{"tokenizer_config.json", R"({"bos_token": "</s>",
      "eos_token": {"content": "<s>"}})"}});
  CHECK(named->bos_token() == 2);
  CHECK(named->eos_tokens() == Ids{1});
  file.trainer +=
      PiecesFile::number(kBosId, ~uint64_t{0}) + PiecesFile::number(kEosId, ~uint64_t{0});
  CHECK_FALSE(load(file.bytes())->adds_bos());
  CHECK_FALSE(load(file.bytes())->bos_token());
  CHECK(load(file.bytes())->eos_tokens().empty());
}

TEST_CASE("tokens that were added to a SentencePiece vocabulary", "[tokenizer]") {
  const PiecesFile file = tiny_pieces();
  const auto size = std::ssize(file.texts);
  const auto tokenizer = load(
      file.bytes(),
      {{"added_tokens.json", fmt::format(R"({{"<pad>": {}, "<x>": {}}})", size, size + 1).c_str()},
       {"tokenizer_config.json", R"({"pad_token": "<pad>"})"}});
  CHECK(tokenizer->vocabulary_size() == size + 2);
  CHECK(tokenizer->encode("<x>") == Ids{size + 1});
  CHECK(tokenizer->encode("<pad>") != Ids{size});
  CHECK(tokenizer->encode("<pad>", true) == Ids{size});
  const tests::HeardWarnings heard;
  load(file.bytes(), {{"added_tokens.json", R"({"<x>": 99999999})"}});
  check_contains(heard.text(), "added_tokens.json: tokens whose id is taken or out of range");
  check_contains(heard.text(), "'<x>' (99999999)");
  load(file.bytes(), {{"added_tokens.json", R"({"<x>": 1})"}});
  check_contains(heard.text(), "'<x>' (1)");
}

TEST_CASE("the words of a tokenizer.model as AutoTokenizer cuts them", "[tokenizer]") {
  const PiecesFile file = tiny_pieces();
  const int64_t space = id_of(file, "▁"), a = id_of(file, "a"), end = id_of(file, "</s>");
  const auto encode = [&](const char* config, const std::string& text) {
    return load(file.bytes(), {{"tokenizer_config.json", config}})->encode(text, true);
  };
  const Ids each = {space, a, end, space, a}, first = {space, a, end, a};
  CHECK(encode("{}", "a</s>a") == each);
  CHECK(encode(R"({"legacy": false})", "a</s>a") == first);
  CHECK(encode(R"({"tokenizer_class": "LlamaTokenizer"})", "a</s>a") == first);
  CHECK(encode(R"({"tokenizer_class": "LlamaTokenizer"})", " a") == Ids{space, a});
  CHECK(encode(R"({"tokenizer_class": "LlamaTokenizer", "legacy": true})", "a</s>a") == each);
  CHECK(encode(R"({"tokenizer_class": "LlamaTokenizer", "add_prefix_space": false})", "a") ==
        Ids{a});
}

TEST_CASE("tokenizer.model is copied along, and tokenizer.json wins over it", "[tokenizer]") {
  const TemporaryDirectory directory, written;
  const std::string bytes = tiny_pieces().bytes();
  directory.write("tokenizer.model", bytes);
  directory.write("tokenizer_config.json", R"({"add_bos_token": true})");
  const auto first = load_tokenizer(directory.path());
  CHECK(first->files().size() == 2);
  CHECK(file_of(*first, "tokenizer.model") == bytes);
  tests::write_files(*first, written);
  CHECK(load_tokenizer(written.path())->encode("hello") == first->encode("hello"));
  tests::write_files(*make_bpe_tokenizer(tests::tiny_definition()), directory);
  CHECK(load_tokenizer(directory.path())->vocabulary_size() != first->vocabulary_size());
}

TEST_CASE("a malformed or unsupported tokenizer.model is refused", "[tokenizer]") {
  const auto refused_bytes = [](const std::string& bytes, const char* part) {
    const std::string message = refusal([&] { load(bytes); });
    check_contains(message, part);
    check_contains(message, "tokenizer.model");
  };
  const auto refused = [&](auto change, const char* part) {
    PiecesFile file = tiny_pieces();
    change(file);
    refused_bytes(file.bytes(), part);
  };
  const std::string good = tiny_pieces().bytes();
  refused_bytes("", "empty");
  refused_bytes(std::string(1, '\0'), "field with number 0");
  refused_bytes(PiecesFile::text(9, "x"), "no pieces");
  refused_bytes(good.substr(0, good.size() - 1), "truncated");
  refused_bytes(good + PiecesFile::varint(1 << 3 | 3), "wire type 3");
  refused_bytes(good + PiecesFile::number(1, 5), "want wire type 2");
  refused_bytes(good + std::string(11, '\xFF'), "more than 10 bytes");
  refused_bytes(good + "\x0A\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01", "truncated");
  refused_bytes(good + PiecesFile::text(1, PiecesFile::number(2, 1)), "'score'");
  refused_bytes(good + "\x80", "truncated");                          // within a key
  refused_bytes(good + "\x48\xFF\xFF", "truncated");                  // within a number
  refused_bytes(good + "\x4A\x80", "truncated");                      // within a length
  refused_bytes(good + std::string("\x4D\0\0\0", 4), "truncated");    // within 32 bits
  refused_bytes(good + std::string("\x49\0\0\0\0", 5), "truncated");  // within 64 bits
  refused_bytes(good + "\x0A\x03\x0A\x05xyzabc", "pieces[274]: truncated");
  const uint64_t beyond = uint64_t{1} << 32;  // 32 bits of it would be a good field
  refused_bytes(good + "\x4A" + PiecesFile::varint(beyond + 1) + "x", "length of 4294967297");
  refused_bytes(good + PiecesFile::varint(beyond + 0x4A) + "\x01x", "field key of 4294967370");
  refused([](auto& f) { f.trainer = ""; }, "UNIGRAM");
  refused([](auto& f) { f.trainer = PiecesFile::number(kModelType, 3); }, "WORD");
  refused([](auto& f) { f.trainer = PiecesFile::number(kModelType, 77); }, "77");
  refused([](auto& f) { f.trainer += PiecesFile::number(kSuffix, 1); }, "whitespace_as_suffix");
  refused([](auto& f) { f.normalizer += PiecesFile::text(kCharsmap, "x"); }, "'identity'");
  refused(
      [](auto& f) {
        f.normalizer = PiecesFile::text(kName, "nmt_nfkc") + PiecesFile::text(kCharsmap, "x");
      },
      "'nmt_nfkc'");
  refused([](auto& f) { f.normalizer += PiecesFile::number(kEscapes, 0); }, "escape_whitespaces");
  refused([](auto& f) { f.types[260] = 5; }, "piece 260 'll' is of type UNUSED");
  refused([](auto& f) { f.types[260] = 9; }, "type 9");
  refused([](auto& f) { f.types[0] = 3; }, "no piece of type UNKNOWN");
  refused([](auto& f) { f.types[1] = 2; }, "both the unknown piece");
  refused([](auto& f) { f.scores[260] = NAN; }, "NaN");
}

TEST_CASE("no mutation of a tokenizer.model gets past the reader unnoticed", "[tokenizer]") {
  std::ifstream stream(tests::data_directory() / "tiny_tokenizers/bytes.model", std::ios::binary);
  const std::string good(std::istreambuf_iterator<char>(stream), {});
  REQUIRE(good.size() > 10000);
  std::mt19937_64 random(3);
  int loaded = 0;
  for (int round = 0; round < 300; ++round) {
    try {
      const auto tokenizer = load(tests::mutated(good, random));
      tokenizer->decode(tokenizer->encode("a text, <mask> ==== 漢字 \U0001f600", true), true);
      ++loaded;
    } catch (const FormatError&) {
    }
  }
  CHECK(loaded > 0);
  CHECK(loaded < 300);
}

}  // namespace
}  // namespace slice
