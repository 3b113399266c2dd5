#include <catch2/catch_test_macros.hpp>
#include <cstring>
#include <random>

#include "libslice/text/tokenizer.h"
#include "tests/support/heard_warnings.h"
#include "tests/support/tiny_vocabulary.h"
#include "tests/support/tokenizer_files.h"

namespace slice {
namespace {

using tests::awkward_texts;
using tests::check_contains;
using tests::refusal;
using tests::TemporaryDirectory;
using tests::write_files;

struct Scored {
  std::string token;
  float score;
};

// 0-2 are special, 3-258 bytes, then words and letters whose scores have ties.
std::vector<Scored> tiny_scored(bool with_bytes = true) {
  std::vector<Scored> tokens = {{"<unk>", 0}, {"\n<s>\n", 0}, {"\n</s>\n", 0}};
  for (int byte = 0; with_bytes && byte < 256; ++byte) {
    char name[8];
    std::snprintf(name, sizeof(name), "<0x%02X>", byte);
    tokens.push_back({name, 0});
  }
  const char* words[] = {"he", "ll",  "hell", "hello", " w", "or", " wor",
                         "aa", "aaa", "ab",   "aba",   "ba", "  "};
  for (size_t i = 0; i < std::size(words); ++i)
    tokens.push_back({words[i], -static_cast<float>(i / 2)});
  for (const char* letter : {" ", "h", "e", "l", "o", "w", "r", "d", "a", "b", "é", "漢"}) {
    tokens.push_back({letter, -100});
  }
  return tokens;
}

std::string scored_bytes(const std::vector<Scored>& tokens) {
  std::string bytes;
  const auto append = [&](const auto& value) {
    bytes.append(reinterpret_cast<const char*>(&value), sizeof(value));
  };
  append(int32_t{6});
  for (const Scored& token : tokens) {
    append(token.score);
    append(static_cast<int32_t>(token.token.size()));
    bytes += token.token;
  }
  return bytes;
}

std::string model_header(int32_t vocabulary) {
  const int32_t header[7] = {8, 16, 1, 2, 1, vocabulary, 32};
  return {reinterpret_cast<const char*>(header), sizeof(header)};
}

// Oracle: run.c's quadratic loop.
std::vector<int64_t> encode_reference(const std::string& text, const std::vector<Scored>& tokens) {
  const auto id_of = [&](const std::string& token) {
    for (size_t id = 3; id < tokens.size(); ++id) {
      if (tokens[id].token == token) return static_cast<int64_t>(id);
    }
    return int64_t{-1};
  };
  std::vector<int64_t> ids;
  if (!text.empty()) ids.push_back(id_of(" "));
  for (size_t i = 0; i < text.size();) {
    size_t size = 1;
    while (i + size < text.size() && (text[i + size] & 0xC0) == 0x80) ++size;
    const int64_t id = id_of(text.substr(i, size));
    if (id >= 0) ids.push_back(id);
    for (size_t j = 0; id < 0 && j < size; ++j)
      ids.push_back(static_cast<uint8_t>(text[i + j]) + 3);
    i += size;
  }
  while (true) {
    float best_score = -1e10f;
    int64_t best_id = -1;
    size_t best = 0;
    for (size_t i = 0; i + 1 < ids.size(); ++i) {
      const int64_t id = id_of(tokens[ids[i]].token + tokens[ids[i + 1]].token);
      if (id < 0 || tokens[id].score <= best_score) continue;
      best_score = tokens[id].score, best_id = id, best = i;
    }
    if (best_id < 0) return ids;
    ids[best] = best_id;
    ids.erase(ids.begin() + static_cast<int64_t>(best) + 1);
  }
}

TEST_CASE("a llama2.c tokenizer gives the ids of run.c", "[tokenizer]") {
  const TemporaryDirectory directory;
  const auto tokens = tiny_scored();
  directory.write("tokenizer.bin", scored_bytes(tokens));
  const auto size = static_cast<int32_t>(tokens.size());
  const auto tokenizer = load_tokenizer(directory.write("model.bin", model_header(-size)));
  CHECK(tokenizer->vocabulary_size() == size);
  CHECK(tokenizer->bos_token() == 1);
  CHECK(tokenizer->eos_tokens() == std::vector<int64_t>{2});
  CHECK(tokenizer->adds_bos());
  std::mt19937 random(0);
  for (int round = 0; round < 100; ++round) {
    std::string text;
    for (size_t i = random() % 60; i > 0; --i) {
      const char* letters[] = {" ", "h", "e",     "l", "o",  "w", "r",
                               "a", "b", "hello", "é", "漢", "😀", "\n"};
      text += letters[random() % std::size(letters)];
    }
    REQUIRE(tokenizer->encode(text) == encode_reference(text, tokens));
  }
  for (const std::string& text : awkward_texts()) {
    auto ids = tokenizer->encode(text);
    CHECK(tokenizer->decode(ids) == text);
    ids.insert(ids.begin(), 1);
    CHECK(tokenizer->decode(ids) == text);
    if (text.size() < 100)
      CHECK(ids == [&] {
        auto expected = encode_reference(text, tokens);
        expected.insert(expected.begin(), 1);
        return expected;
      }());
  }
}

TEST_CASE("a llama2.c tokenizer written out reads back the same", "[tokenizer]") {
  for (const bool with_bytes : {true, false}) {
    const TemporaryDirectory directory, written;
    const auto tokens = tiny_scored(with_bytes);
    directory.write("tok.bin", scored_bytes(tokens));
    directory.write("notes.bin", "not a tokenizer");
    const auto model =
        directory.write("model.bin", model_header(static_cast<int32_t>(tokens.size())));
    const auto first = load_tokenizer(model);
    write_files(*first, written);
    const auto second = load_tokenizer(written.path());
    CHECK(second->bos_token() == first->bos_token());
    CHECK(second->eos_tokens() == first->eos_tokens());
    CHECK(second->adds_bos());
    CHECK(second->vocabulary_size() == first->vocabulary_size());
    for (const std::string& text : awkward_texts()) {
      // The written form reads U+2581 as a space, as every LLaMA tokenizer does.
      if (text.find("\u2581") != std::string::npos) continue;
      CHECK(second->encode(text) == first->encode(text));
      CHECK(second->encode("<s>" + text, true) == first->encode("<s>" + text, true));
      if (with_bytes) CHECK(second->decode(second->encode(text)) == text);
    }
  }
}

TEST_CASE("a llama2.c model without its one tokenizer is refused", "[tokenizer]") {
  const TemporaryDirectory directory;
  const auto tokens = tiny_scored();
  const auto model =
      directory.write("model.bin", model_header(static_cast<int32_t>(tokens.size())));
  check_contains(refusal([&] { load_tokenizer(model); }), "no tokenizer.bin");
  directory.write("a.bin", scored_bytes(tokens));
  CHECK_NOTHROW(load_tokenizer(model));
  directory.write("b.bin", scored_bytes(tokens));
  check_contains(refusal([&] { load_tokenizer(model); }), "may be");
  directory.write("tokenizer.bin", scored_bytes(tokens));
  CHECK_NOTHROW(load_tokenizer(model));
}

TEST_CASE("a malformed llama2.c tokenizer is refused", "[tokenizer]") {
  const auto tokens = tiny_scored();
  const std::string good = scored_bytes(tokens);
  const auto refusal_of = [&](const std::string& bytes) {
    const TemporaryDirectory directory;
    directory.write("tokenizer.bin", bytes);
    const auto model =
        directory.write("model.bin", model_header(static_cast<int32_t>(tokens.size())));
    return refusal([&] { load_tokenizer(model); });
  };
  for (const size_t size :
       {size_t{0}, size_t{3}, size_t{4}, size_t{9}, size_t{13}, good.size() - 1}) {
    check_contains(refusal_of(good.substr(0, size)), "truncated");
  }
  check_contains(refusal_of(good + "x"), "1 bytes after");
  const auto with_int32 = [&](size_t offset, int32_t value) {
    std::string bytes = good;
    std::memcpy(bytes.data() + offset, &value, sizeof(value));
    return bytes;
  };
  check_contains(refusal_of(with_int32(0, -1)), "longest token");
  check_contains(refusal_of(with_int32(8, -5)), "token 0 has -5 bytes");
  check_contains(refusal_of(with_int32(8, 0)), "token 0 has 0 bytes");
  check_contains(refusal_of(with_int32(8, (1 << 20) + 1)), "token 0 has 1048577 bytes");
  check_contains(refusal_of(with_int32(8, 1 << 20)), "truncated");
  check_contains(refusal_of(with_int32(4, 0x7FC00000)), "NaN");
}

TEST_CASE("a llama2.c tokenizer warns of tokens that no text can use", "[tokenizer]") {
  auto tokens = tiny_scored();
  tokens[300 - 30].token = tokens[301 - 30].token;
  tokens[272].token = "\xFF";
  const TemporaryDirectory directory;
  directory.write("tokenizer.bin", scored_bytes(tokens));
  const auto model =
      directory.write("model.bin", model_header(static_cast<int32_t>(tokens.size())));
  const tests::HeardWarnings heard;
  load_tokenizer(model);
  check_contains(heard.text(), "tokenizer.bin: equal tokens");
  check_contains(heard.text(), "not UTF-8 are ignored: 272");
}

}  // namespace
}  // namespace slice
