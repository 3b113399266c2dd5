#include <catch2/catch_test_macros.hpp>
#include <ctime>
#include <nlohmann/json.hpp>

#include "libslice/text/tokenizer.h"
#include "tests/support/heard_warnings.h"
#include "tests/support/tiny_vocabulary.h"
#include "tests/support/tokenizer_files.h"

namespace slice {
namespace {

using nlohmann::json;
using tests::awkward_texts;
using tests::check_contains;
using tests::file_of;
using tests::refusal;
using tests::TemporaryDirectory;
using tests::tiny_definition;
using Ids = std::vector<int64_t>;
using Files = std::vector<std::pair<std::string, std::string>>;

// The tiny vocabulary with GPT-2's words, as a directory's two files.
struct TinyFiles {
  json vocabulary;
  std::string merges = "#version: 0.2\n";

  TinyFiles() {
    const BpeDefinition definition = tiny_definition();
    for (size_t id = 0; id < definition.tokens.size(); ++id) vocabulary[definition.tokens[id]] = id;
    for (const auto& [left, right] : tests::tiny_merges()) merges += left + " " + right + "\n";
  }
  std::shared_ptr<const Tokenizer> load(const Files& more = {}) const {
    const TemporaryDirectory directory;
    directory.write("vocab.json", vocabulary.dump());
    directory.write("merges.txt", merges);
    for (const auto& [name, bytes] : more) directory.write(name, bytes);
    return load_tokenizer(directory.path());
  }
};

TEST_CASE("vocab.json and merges.txt make GPT-2's kind of tokenizer", "[tokenizer]") {
  BpeDefinition definition = tiny_definition();
  definition.splits.erase(definition.splits.begin());  // GPT-2 leaves digits together
  const auto expected = make_bpe_tokenizer(definition);
  TinyFiles files;
  const auto loaded = files.load();
  for (size_t at = 0; (at = files.merges.find('\n', at)) != std::string::npos; at += 2) {
    files.merges.insert(at, "\r");
  }
  const auto windows = files.load();
  for (const std::string& text : awkward_texts()) {
    CHECK(loaded->encode(text) == expected->encode(text));
    CHECK(windows->encode(text) == expected->encode(text));
    CHECK(loaded->decode(loaded->encode(text)) == text);
  }
  check_contains(refusal([&] { loaded->encode("\xFF"); }), "byte 0");
}

TEST_CASE("the files of GPT-2's kind are copied along", "[tokenizer]") {
  const TinyFiles files;
  const auto loaded = files.load({{"tokenizer_config.json", "{}"}});
  CHECK(loaded->files().size() == 3);
  CHECK(file_of(*loaded, "vocab.json") == files.vocabulary.dump());
  CHECK(file_of(*loaded, "merges.txt") == files.merges);
}

TEST_CASE("tokenizer_config.json of GPT-2's kind", "[tokenizer]") {
  const TinyFiles files;
  const auto load = [&](const json& config, const Files& more = {}) {
    Files all = more;
    all.emplace_back("tokenizer_config.json", config.dump());
    return files.load(all);
  };
  const json marks = {{"bos_token", "<|begin|>"}, {"eos_token", {{"content", "<|end|>"}}}};
  CHECK(load(marks)->bos_token() == 1);
  CHECK(load(marks)->eos_tokens() == Ids{0});
  CHECK_FALSE(load(marks)->adds_bos());
  CHECK(load(marks)->encode("<|begin|>", true) == Ids{1});
  CHECK(load(marks)->encode("<|begin|>").size() > 1);
  CHECK(load({{"add_prefix_space", true}})->encode("wor") == load(json::object())->encode(" wor"));
  CHECK(load({{"tokenizer_class", "CodeGenTokenizer"}})->encode("12").size() == 1);
  const auto qwen2 = load({{"tokenizer_class", "Qwen2TokenizerFast"}});
  CHECK(qwen2->encode("12").size() == 2);
  CHECK(qwen2->encode("e\u0301") == qwen2->encode("\u00e9"));
  check_contains(refusal([&] { load({{"tokenizer_class", "BertTokenizer"}}); }), "BertTokenizer");
  const tests::HeardWarnings heard;
  CHECK_FALSE(load({{"bos_token", "<zz>"}})->bos_token());
  check_contains(heard.text(), "tokenizer_config.json: bos_token '<zz>' is not a token");

  json begins = marks;
  begins["add_bos_token"] = true;
  CHECK(load(begins)->adds_bos());
  CHECK(load(begins, {{"config.json", R"({"model_type": "gpt2"})"}})->adds_bos());
  for (const char* opt : {R"({"model_type": "opt"})", R"({"model_type": "sliced_opt"})"}) {
    CHECK_FALSE(load(begins, {{"config.json", opt}})->adds_bos());
  }
}

TEST_CASE("tokens added to GPT-2's kind", "[tokenizer]") {
  const TinyFiles files;
  const auto size = std::ssize(tiny_definition().tokens);
  const json added = {{"<|two|>", size + 1}, {"<|one|>", size}};
  const auto plain = files.load({{"added_tokens.json", added.dump()}});
  CHECK(plain->encode("<|two|>a<|one|>") == Ids{size + 1, 2 + 'a', size});
  const json named = {{"additional_special_tokens", {"<|one|>"}}};
  const auto special =
      files.load({{"added_tokens.json", added.dump()}, {"special_tokens_map.json", named.dump()}});
  CHECK(special->encode("<|one|>").size() > 1);
  CHECK(special->encode("<|one|>", true) == Ids{size});
  const json config = {
      {"added_tokens_decoder",
       {{std::to_string(size), {{"content", "<|one|>"}, {"special", true}, {"lstrip", true}}}}}};
  const auto decoder = files.load({{"tokenizer_config.json", config.dump()}});
  CHECK(decoder->encode("a <|one|>", true) == Ids{2 + 'a', size});
  CHECK(decoder->encode("<|one|>").size() > 1);
}

TEST_CASE("an added_tokens.json of 200,000 tokens took half a minute to read", "[tokenizer]") {
  const TinyFiles files;
  const auto size = std::ssize(tiny_definition().tokens);
  json added, end;
  for (int64_t i = 0; i < 200000; ++i) {
    added["<|" + std::to_string(i) + "|>"] = size + i;
    end.push_back(size + i);
  }
  const json generation = {{"eos_token_id", end}};
  const std::clock_t start = std::clock();
  const auto loaded = files.load(
      {{"added_tokens.json", added.dump()}, {"generation_config.json", generation.dump()}});
  CHECK(static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC < 10);
  CHECK(loaded->encode("<|199999|>a<|0|>") == Ids{size + 199999, 2 + 'a', size});
  CHECK(loaded->eos_tokens().size() == 200000);
}

TEST_CASE("directories of two files alone have GPT-2's or OPT's special tokens", "[tokenizer]") {
  TinyFiles files;
  const auto size = std::ssize(tiny_definition().tokens);
  CHECK_FALSE(files.load()->bos_token());
  files.vocabulary["<|endoftext|>"] = size;
  CHECK(files.load()->bos_token() == size);
  CHECK(files.load()->eos_tokens() == Ids{size});
  files.vocabulary["</s>"] = size + 1;
  files.vocabulary["<pad>"] = size + 2;
  CHECK(files.load()->bos_token() == size + 1);
  CHECK(files.load()->eos_tokens() == Ids{size + 1});
  CHECK_FALSE(files.load()->adds_bos());
}

TEST_CASE("malformed files of GPT-2's kind are refused by name", "[tokenizer]") {
  const auto refused = [](auto change, const char* file, const char* part) {
    TinyFiles files;
    change(files);
    const std::string message = refusal([&] { files.load(); });
    check_contains(message, part);
    check_contains(message, file);
  };
  refused([](auto& f) { f.vocabulary = json::array(); }, "vocab.json", "want an object");
  refused([](auto& f) { f.vocabulary["h"] = -1; }, "merges.txt: line 2", "'h' is not a token");
  refused([](auto& f) { f.vocabulary["h"] = "x"; }, "vocab.json", "'h': want an integer");
  refused([](auto& f) { f.vocabulary["h"] = 1.5; }, "vocab.json", "'h': want an integer");
  refused([](auto& f) { f.vocabulary.erase("h"); }, "merges.txt: line 2", "'h' is not a token");
  refused([](auto& f) { f.merges += "hell\n"; }, "merges.txt: line 22", "'hell'");
  refused([](auto& f) { f.merges += "hell \n"; }, "merges.txt: line 22", "'' is not a token");
  refused([](auto& f) { f.merges += "hell zz\n"; }, "merges.txt: line 22", "'zz' is not a token");
  refused([](auto& f) { f.merges += "hell q\n"; }, "merges.txt: line 22", "'hellq' is not a token");
  refused([](auto& f) { f.merges = ""; }, "merges.txt", "empty");
  std::string spaces = "h";
  for (int i = 0; i < 200'000; ++i) spaces += " n";  // trying each space takes 10^11 steps
  refused([&](auto& f) { f.merges += spaces + "\n"; }, "merges.txt: line 22", "is not a token");
  const TemporaryDirectory directory;
  directory.write("vocab.json", "{}");
  check_contains(refusal([&] { load_tokenizer(directory.path()); }), "merges.txt");
  directory.write("merges.txt", "a b");
  directory.write("vocab.json", "{");
  check_contains(refusal([&] { load_tokenizer(directory.path()); }), "vocab.json: not JSON");
}

}  // namespace
}  // namespace slice
