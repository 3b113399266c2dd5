#include <ATen/ops/from_blob.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

#include "libslice/base/detail/sha256.h"
#include "libslice/text/bpe.h"
#include "libslice/text/tokenizer.h"
#include "tests/support/gguf_writer.h"
#include "tests/support/pieces_file.h"
#include "tests/support/places.h"
#include "tests/support/shared_data.h"
#include "tests/support/tiny_vocabulary.h"
#include "tests/support/tokenizer_files.h"

// Ids of whole texts against those of the reference tokenizers (data/make_token_goldens.py).

namespace slice {
namespace {

using nlohmann::json;
using tests::GgufWriter;
using tests::shared_text;
using tests::TemporaryDirectory;
using tests::write_files;
using TokenizerPointer = std::shared_ptr<const Tokenizer>;

constexpr char kNeeds[] = "needs ../shared/data, the demo model and xz";

std::string data_file(const std::string& name) {
  std::ifstream file(tests::data_directory() / name, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::optional<std::string> torture() { return data_file("torture.txt"); }

void check_golden(const Tokenizer& tokenizer, const std::string& text, bool special,
                  const json& golden) {
  auto ids = tokenizer.encode(text, special);
  CHECK(ids.size() == golden["count"].get<size_t>());
  CHECK(detail::sha256(at::from_blob(ids.data(), {std::ssize(ids)}, at::kLong)) ==
        golden["sha256"].get<std::string>());
  if (golden["round_trip"]) CHECK((tokenizer.decode(ids, special) == text));
}

// The texts that the reference has ids for, with and without special tokens; and bytes that are not
// UTF-8, which are refused. @param special  the reference recognises special tokens
void check_goldens(const Tokenizer& tokenizer, const std::string& name, bool special = true) {
  const json all = json::parse(data_file("token_goldens.json"));
  const json& goldens = all.at(name);
  for (const std::string title : {"wikitext-2", "torture", "nothing"}) {
    if (!goldens.contains(title)) continue;
    INFO(name << " on " << title);
    const auto text = title == "nothing"   ? std::string()
                      : title == "torture" ? torture()
                                           : shared_text("wikitext-2/wiki.test.tokens.xz");
    REQUIRE(text);
    check_golden(tokenizer, *text, false, goldens[title]);
    const std::string with = title + ", special";
    if (special) {
      check_golden(tokenizer, *text, true, goldens[goldens.contains(with) ? with : title]);
    }
  }
  INFO(name);
  std::string broken = *torture();
  broken.insert(7, "\xE2\x82");  // after "Emoji: "
  for (const bool with : {false, true}) {
    tests::check_contains(tests::refusal([&] { tokenizer.encode(broken, with); }), "at byte 7");
  }
}

// A directory of files unpacked from the shared data; nothing where one is missing.
TokenizerPointer load_shared(std::initializer_list<std::pair<const char*, const char*>> files) {
  const TemporaryDirectory directory;
  for (const auto& [name, source] : files) {
    const auto text = std::string_view(source).ends_with(".xz") ? shared_text(source)
                                                                : tests::shared_bytes(source);
    if (!text) return nullptr;
    directory.write(name, *text);
  }
  return load_tokenizer(directory.path());
}

TEST_CASE("a SentencePiece model gives SentencePiece's ids", "[tokenizer]") {
  for (const auto& [name, path] : {std::pair("llama2", "tokenizers/llama2/tokenizer.model"),
                                   std::pair("tok105", "models/babyllama-tok105/tok105.model")}) {
    const auto tokenizer = load_shared({{"tokenizer.model", path}});
    if (!tokenizer) SKIP(kNeeds);
    check_goldens(*tokenizer, name, false);
    CHECK(tokenizer->bos_token() == 1);
    CHECK(tokenizer->eos_tokens() == std::vector<int64_t>{2});
    CHECK(tokenizer->adds_bos());
  }
}

TEST_CASE("vocab.json and merges.txt give the ids of Hugging Face's tokenizers", "[tokenizer]") {
  const auto opt = load_shared({{"vocab.json", "tokenizers/opt/vocab.json.xz"},
                                {"merges.txt", "tokenizers/opt/merges.txt.xz"}});
  const auto gpt2 = load_shared({{"vocab.json", "tokenizers/gpt2/vocab.json.xz"},
                                 {"merges.txt", "tokenizers/opt/merges.txt.xz"}});
  if (!opt || !gpt2) SKIP(kNeeds);
  check_goldens(*opt, "opt");
  CHECK(opt->bos_token() == 2);
  CHECK(opt->eos_tokens() == std::vector<int64_t>{2});
  CHECK_FALSE(opt->adds_bos());
  check_goldens(*gpt2, "gpt2");
  CHECK(gpt2->bos_token() == 50256);
  CHECK(gpt2->eos_tokens() == std::vector<int64_t>{50256});
  CHECK_FALSE(gpt2->adds_bos());
}

TEST_CASE("published tokenizer.json files give the ids of Hugging Face's tokenizers",
          "[tokenizer]") {
  const auto neox = load_shared({{"tokenizer.json", "tokenizers/neox/20B_tokenizer.json.xz"}});
  const auto phi =
      load_shared({{"tokenizer.json", "tokenizers/phi-2/tokenizer.json.xz"},
                   {"tokenizer_config.json", "tokenizers/phi-2/tokenizer_config.json"}});
  const auto llama2 = load_shared({{"tokenizer.json", "tokenizers/llama2/tokenizer.json.xz"}});
  if (!neox || !phi || !llama2) SKIP(kNeeds);
  check_goldens(*llama2, "llama2/json");
  check_goldens(*neox, "neox");
  check_goldens(*phi, "phi-2");
  CHECK(phi->bos_token() == 50256);
  CHECK_FALSE(phi->adds_bos());
}

TEST_CASE("the demo model gives the ids of Hugging Face's tokenizers, written out too",
          "[tokenizer]") {
  const auto model = tests::demo_model();
  if (!model || !tests::shared_data("wikitext-2")) SKIP(kNeeds);
  const auto tokenizer = load_tokenizer(*model);
  check_goldens(*tokenizer, "smollm2");
  CHECK_FALSE(tokenizer->adds_bos());
  const TemporaryDirectory directory;
  write_files(*tokenizer, directory);
  check_goldens(*load_tokenizer(directory.path()), "smollm2");
}

TEST_CASE("a GGUF of LLaMA-2's pieces gives SentencePiece's ids, written out too", "[tokenizer]") {
  const auto bytes = tests::shared_bytes("tokenizers/llama2/tokenizer.model");
  if (!bytes || !tests::shared_data("wikitext-2")) SKIP(kNeeds);
  const tests::PiecesFile pieces = tests::read_pieces(*bytes);
  GgufWriter file;
  file.text("tokenizer.ggml.model", "llama");
  file.texts("tokenizer.ggml.tokens", pieces.texts);
  file.reals("tokenizer.ggml.scores", pieces.scores);
  file.numbers("tokenizer.ggml.token_type", pieces.types);
  const TemporaryDirectory directory, written;
  const auto tokenizer = load_tokenizer(directory.write("model.gguf", file.bytes()));
  check_goldens(*tokenizer, "llama2", false);
  CHECK(tokenizer->bos_token() == 1);
  CHECK(tokenizer->eos_tokens() == std::vector<int64_t>{2});
  CHECK(tokenizer->adds_bos());
  write_files(*tokenizer, written);
  const auto second = load_tokenizer(written.path());
  check_goldens(*second, "llama2", false);
  CHECK(second->adds_bos());
}

// A byte-level vocabulary in GGUF files that name one pre-tokenizer after the other.
void check_pre_tokenizers(const std::string& name, const std::string& vocabulary,
                          const std::string& lines) {
  const json ids = json::parse(vocabulary);
  std::vector<std::string> tokens(ids.size()), merges;
  for (const auto& [token, id] : ids.items()) tokens.at(id) = token;
  std::istringstream text(lines);
  for (std::string line; std::getline(text, line);) {
    if (!line.starts_with("#version")) merges.push_back(line);
  }
  // A beginning token is special: a text's own tokens cannot be it.
  const auto end_of_text = std::ranges::find(tokens, "<|endoftext|>");
  const int64_t begin = end_of_text == tokens.end() ? 0 : end_of_text - tokens.begin();
  for (const auto& [pre, words] :
       {std::pair("default", "default"), std::pair("gpt-2", "gpt-2"), std::pair("phi-2", "gpt-2"),
        std::pair("smollm", "smollm"), std::pair("llama-bpe", "llama-bpe"),
        std::pair("llama3", "llama-bpe"), std::pair("llama-v3", "llama-bpe"),
        std::pair("qwen2", "qwen2")}) {
    GgufWriter file;
    file.text("tokenizer.ggml.model", "gpt2");
    file.text("tokenizer.ggml.pre", pre);
    file.texts("tokenizer.ggml.tokens", tokens);
    file.texts("tokenizer.ggml.merges", merges);
    file.number("tokenizer.ggml.bos_token_id", begin);
    const TemporaryDirectory directory, written;
    const auto tokenizer = load_tokenizer(directory.write("model.gguf", file.bytes()));
    check_goldens(*tokenizer, name + "/" + words, false);
    CHECK(tokenizer->adds_bos() == (words == std::string("llama-bpe")));
    write_files(*tokenizer, written);
    check_goldens(*load_tokenizer(written.path()), name + "/" + words, false);
  }
}

TEST_CASE("the pre-tokenizers of GGUF files cut the words of Hugging Face's", "[tokenizer]") {
  check_pre_tokenizers("tiny", data_file("tiny_tokenizers/vocab.json"),
                       data_file("tiny_tokenizers/merges.txt"));
}

TEST_CASE("the pre-tokenizers of GGUF files cut GPT-2's words as Hugging Face's do",
          "[tokenizer]") {
  const auto vocabulary = shared_text("tokenizers/gpt2/vocab.json.xz");
  const auto lines = shared_text("tokenizers/opt/merges.txt.xz");
  if (!vocabulary || !lines) SKIP(kNeeds);
  check_pre_tokenizers("gpt2", *vocabulary, *lines);
}

TEST_CASE("small models that SentencePiece trained give its ids", "[tokenizer]") {
  for (const char* name : {"bytes", "spaces"}) {
    const TemporaryDirectory directory;
    directory.write("tokenizer.model",
                    data_file(std::string("tiny_tokenizers/") + name + ".model"));
    check_goldens(*load_tokenizer(directory.path()), std::string("tiny/") + name, false);
  }
}

TEST_CASE("the torture text survives a vocabulary of bytes", "[tokenizer]") {
  const auto tokenizer = make_bpe_tokenizer(tests::tiny_definition());
  const std::string text = data_file("torture.txt");
  REQUIRE(text.size() == 7017);
  CHECK((tokenizer->decode(tokenizer->encode(text)) == text));
}

}  // namespace
}  // namespace slice
