#include <catch2/catch_test_macros.hpp>
#include <nlohmann/json.hpp>

#include "libslice/text/bpe.h"
#include "libslice/text/tokenizer.h"
#include "tests/support/tiny_tokenizer_json.h"
#include "tests/support/tiny_vocabulary.h"
#include "tests/support/tokenizer_files.h"

namespace slice {
namespace {

using nlohmann::json;
using tests::awkward_texts;
using tests::check_contains;
using tests::file_of;
using tests::load_json;
using tests::refusal;
using tests::TemporaryDirectory;
using tests::tiny_definition;
using tests::tiny_json;
using tests::write_files;

TEST_CASE("a byte-level tokenizer written out reads back the same", "[tokenizer]") {
  const auto first = make_bpe_tokenizer(tiny_definition());
  const TemporaryDirectory directory;
  write_files(*first, directory);
  const auto second = load_tokenizer(directory.path());
  CHECK(second->bos_token() == 1);
  CHECK(second->eos_tokens() == std::vector<int64_t>{0});
  CHECK_FALSE(second->adds_bos());
  for (const std::string& text : awkward_texts()) {
    CHECK(second->encode(text) == first->encode(text));
    CHECK(second->encode("<|begin|>" + text, true) == first->encode("<|begin|>" + text, true));
  }
  const json config = json::parse(file_of(*first, "tokenizer_config.json"));
  CHECK(config["chat_template"] == "{{ messages }}");
  CHECK(config["eos_token"] == "<|end|>");
}

TEST_CASE("the files of a directory are copied byte for byte", "[tokenizer]") {
  const TemporaryDirectory directory;
  const std::string bytes = tiny_json().dump(3) + "\n\n";
  directory.write("tokenizer.json", bytes);
  directory.write("chat_template.jinja", "{{ x }}\r\n");
  directory.write("unrelated.txt", "x");
  const auto tokenizer = load_tokenizer(directory.path());
  CHECK(tokenizer->files().size() == 2);
  CHECK(file_of(*tokenizer, "tokenizer.json") == bytes);
  CHECK(file_of(*tokenizer, "chat_template.jinja") == "{{ x }}\r\n");
}

TEST_CASE("SmolLM2's own components, merges as pairs", "[tokenizer]") {
  json tokenizer = tiny_json();
  tokenizer["pre_tokenizer"] = json::parse(R"({"type": "Sequence", "pretokenizers": [
      {"type": "Digits", "individual_digits": true},
      {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}]})");
  for (json& merge : tokenizer["model"]["merges"]) {
    const std::string line = merge;
    merge = {line.substr(0, line.find(' ')), line.substr(line.find(' ') + 1)};
  }
  const auto expected = make_bpe_tokenizer(tiny_definition());
  const auto loaded = load_json(tokenizer);
  for (const std::string& text : awkward_texts()) {
    CHECK(loaded->encode(text) == expected->encode(text));
  }
}

TEST_CASE("options of a pre-tokenizer", "[tokenizer]") {
  json tokenizer = tiny_json();
  const auto encode = [&](const char* pre_tokenizer, const std::string& text) {
    tokenizer["pre_tokenizer"] = json::parse(pre_tokenizer);
    const auto loaded = load_json(tokenizer);
    std::vector<std::string> pieces;
    for (const int64_t id : loaded->encode(text)) pieces.push_back(loaded->decode(std::vector{id}));
    return pieces;
  };
  using Pieces = std::vector<std::string>;
  const auto split = [](const char* behavior, const char* invert = "false") {
    return std::string(
               R"({"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"String": "b"},
        "behavior": ")") +
           behavior + R"(", "invert": )" + invert +
           R"(}, {"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}]})";
  };
  // The merges join a a, b a and a b within a word.
  CHECK(encode(split("Isolated").c_str(), "aabbaa") == Pieces{"aa", "b", "b", "aa"});
  CHECK(encode(split("Removed").c_str(), "aabbaa") == Pieces{"aa", "aa"});
  CHECK(encode(split("Removed", "true").c_str(), "aabbaa") == Pieces{"b", "b"});
  CHECK(encode(split("MergedWithPrevious").c_str(), "abba") == Pieces{"ab", "b", "a"});
  CHECK(encode(split("MergedWithNext").c_str(), "abba") == Pieces{"a", "b", "ba"});
  CHECK(encode(split("Contiguous").c_str(), "abba") == Pieces{"a", "b", "b", "a"});
  CHECK(encode(R"({"type": "ByteLevel", "add_prefix_space": true})", "wor") == Pieces{" wor"});
  CHECK(encode(R"({"type": "ByteLevel", "add_prefix_space": true})", " wor") == Pieces{" wor"});
}

json split_at(const std::string& pattern) {
  return {{"type", "Sequence"},
          {"pretokenizers",
           {{{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Removed"}},
            {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}}}}};
}

TEST_CASE("a stranger's regular expression made encode run for ever", "[tokenizer]") {
  json tokenizer = tiny_json();
  tokenizer["pre_tokenizer"] = split_at("(a+)+$");
  const auto loaded = load_json(tokenizer);
  CHECK(loaded->encode("aaaa").empty());
  const std::string message =
      refusal([&] { loaded->encode(std::string(40, 'a') + "!"); });  // 2^40 ways
  check_contains(message, "tokenizer.json: pattern '(a+)+$' on this text: U_REGEX_TIME_OUT");
  CHECK(loaded->encode("aaaa").empty());
}

TEST_CASE("a long match overflowed ICU's usual stack", "[tokenizer]") {
  json tokenizer = tiny_json();
  tokenizer["pre_tokenizer"] = split_at("(?:ab)+c?");
  std::string text;
  for (int turn = 0; turn < 2000000; ++turn) text += "ab";
  CHECK(load_json(tokenizer)->encode(text + "h").size() == 1);
}

TEST_CASE("Metaspace before each word", "[tokenizer]") {
  json tokenizer = tiny_json();
  tokenizer["model"]["vocab"] = {{"<|end|>", 0}, {"<|begin|>", 1}, {"▁", 2},
                                 {"a", 3},       {"▁a", 4},        {"a▁", 5}};
  tokenizer["model"]["merges"] = {"a ▁", "▁ a"};
  tokenizer["decoder"] = {
      {"type", "Metaspace"}, {"replacement", "▁"}, {"prepend_scheme", "always"}};
  const auto encode = [&](const char* scheme, bool split, const std::string& text) {
    tokenizer["pre_tokenizer"] = {
        {"type", "Metaspace"}, {"prepend_scheme", scheme}, {"split", split}};
    return load_json(tokenizer)->encode(text, true);
  };
  using Ids = std::vector<int64_t>;
  CHECK(encode("always", true, "a a") == Ids{4, 4});
  CHECK(encode("always", false, "a a") == Ids{2, 5, 3});
  CHECK(encode("never", true, "a a") == Ids{3, 4});
  CHECK(encode("always", true, " a") == Ids{4});
  CHECK(encode("first", true, "a<|end|>a") == Ids{4, 0, 3});
  CHECK(encode("first", true, "<|end|>a") == Ids{0, 3});
}

TEST_CASE("a template that puts a token first makes it the beginning token", "[tokenizer]") {
  json tokenizer = tiny_json();
  tokenizer["post_processor"] =
      json::parse(R"({"type": "Sequence", "processors": [{"type": "ByteLevel"},
      {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<|begin|>", "type_id": 0}},
       {"Sequence": {"id": "A", "type_id": 0}}], "pair": [], "special_tokens": {}}]})");
  CHECK(load_json(tokenizer)->adds_bos());
  CHECK(load_json(tokenizer)->bos_token() == 1);
  CHECK_FALSE(load_json(tokenizer, {{"add_bos_token", false}})->adds_bos());
  tokenizer.erase("post_processor");
  CHECK_FALSE(load_json(tokenizer)->adds_bos());
  CHECK(load_json(tokenizer, {{"add_bos_token", true}, {"bos_token", {{"content", "<|begin|>"}}}})
            ->adds_bos());
}

TEST_CASE("every end token of generation_config.json and config.json counts", "[tokenizer]") {
  const TemporaryDirectory directory;
  directory.write("tokenizer.json", tiny_json().dump());
  directory.write("tokenizer_config.json", R"({"eos_token": "<|end|>"})");
  directory.write("generation_config.json", R"({"eos_token_id": [1, 0]})");
  CHECK(load_tokenizer(directory.path())->eos_tokens() == std::vector<int64_t>{0, 1});
  directory.write("config.json", R"({"eos_token_id": 2})");
  CHECK(load_tokenizer(directory.path())->eos_tokens() == std::vector<int64_t>{0, 1, 2});
  directory.write("config.json", R"({"eos_token_id": [3, 100000, -1]})");  // only 3 is a token
  CHECK(load_tokenizer(directory.path())->eos_tokens() == std::vector<int64_t>{0, 1, 3});
}

TEST_CASE("text is normalised before the search for tokens that ask for it", "[tokenizer]") {
  json tokenizer = tiny_json();
  tokenizer["normalizer"] = {{"type", "NFC"}};
  const auto id = make_bpe_tokenizer(tiny_definition())->vocabulary_size();
  tokenizer["added_tokens"].push_back(
      {{"id", id}, {"content", "\u00e9\u00e9"}, {"normalized", true}, {"special", false}});
  CHECK(load_json(tokenizer)->encode("e\u0301\u00e9") == std::vector<int64_t>{id});
}

TEST_CASE("replacements that doubled a text two hundred times filled any memory", "[tokenizer]") {
  json tokenizer = tiny_json();
  const json twice = {{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", "aa"}};
  tokenizer["normalizer"] = {{"type", "Sequence"}, {"normalizers", std::vector(200, twice)}};
  check_contains(refusal([&] { load_json(tokenizer)->encode("a"); }), "normalizers make");
  tokenizer["normalizer"]["normalizers"] = {twice, twice};
  CHECK(load_json(tokenizer)->encode("a") == load_json(tiny_json())->encode("aaaa"));
}

TEST_CASE("twenty thousand splits, one inside the other, overflowed the stack", "[tokenizer]") {
  json tokenizer = tiny_json();
  json& parts = tokenizer["pre_tokenizer"]["pretokenizers"];
  const json split = parts[0];
  parts.insert(parts.begin(), 20000, split);
  check_contains(refusal([&] { load_json(tokenizer)->encode("a text"); }), "stages");
}

TEST_CASE("LLaMA's special tokens were decoded without the space before them", "[tokenizer]") {
  json tokenizer = tiny_json();
  tokenizer["model"]["vocab"] = {{"<|end|>", 0}, {"<|begin|>", 1}, {"▁", 2}, {"a", 3}, {"▁a", 4}};
  tokenizer["model"]["merges"] = {"▁ a"};
  tokenizer["normalizer"] = json::parse(R"({"type": "Sequence", "normalizers": [
      {"type": "Prepend", "prepend": "▁"},
      {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]})");
  tokenizer["pre_tokenizer"] = nullptr;
  tokenizer["decoder"] = json::parse(R"({"type": "Sequence", "decoders": [
      {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "Fuse"},
      {"type": "Strip", "content": " ", "start": 1, "stop": 0}]})");
  for (json& token : tokenizer["added_tokens"]) token["normalized"] = true;
  const auto loaded = load_json(tokenizer, {{"bos_token", "<|begin|>"}});
  using Ids = std::vector<int64_t>;
  for (const auto& [text, ids] :
       {std::pair("a <|end|> a", Ids{4, 0, 4}), std::pair("<|begin|> a", Ids{1, 4}),
        std::pair("<|begin|>a", Ids{1, 3})}) {
    CHECK(loaded->encode(text, true) == ids);
    CHECK(loaded->decode(ids, true) == text);
  }
  CHECK(loaded->decode(Ids{1, 4}) == "a");
}

TEST_CASE("a malformed or unsupported tokenizer.json is refused by name", "[tokenizer]") {
  const auto refused = [](const char* pointer, const json& value, const char* part) {
    CAPTURE(pointer, part);
    json tokenizer = tiny_json();
    tokenizer[json::json_pointer(pointer)] = value;
    const std::string message = refusal([&] { load_json(tokenizer); });
    check_contains(message, part);
    check_contains(message, "tokenizer.json");
  };
  refused("/model", 3, "want an object");
  refused("/model/type", "Unigram", "Unigram");
  refused("/model/vocab", json::array(), "want an object");
  refused("/model/vocab/h", "x", "'h'");
  refused("/model/vocab/h", 1.5, "'h'");
  refused("/model/merges", 7, "merges");
  refused("/model/merges/3", "hell", "merges[3]");
  refused("/model/merges/3", "hell q", "'hellq' is not a token");
  refused("/model/merges/3", "hell zz", "'zz' is not a token");
  refused("/model/merges/3", {{"a", 1}}, "merges[3]");
  refused("/model/end_of_word_suffix", "</w>", "</w>");
  refused("/normalizer", {{"type", "Precompiled"}}, "Precompiled");
  refused("/normalizer", {{"type", "Replace"}}, "pattern");
  refused("/normalizer", {{"type", "Replace"}, {"pattern", {{"Regex", "(a"}}}, {"content", ""}},
          "(a");
  refused("/pre_tokenizer", {{"type", "UnicodeScripts"}}, "UnicodeScripts");
  refused("/pre_tokenizer", {{"type", 1}}, "'type'");
  refused("/pre_tokenizer/pretokenizers/0/pattern", {{"Regex", "(a"}}, "(a");
  refused("/pre_tokenizer/pretokenizers/0/behavior", "Sideways", "Sideways");
  refused("/decoder", {{"type", "WordPiece"}}, "WordPiece");
  refused("/post_processor", {{"type", "Whatever"}}, "Whatever");
  refused("/added_tokens/0", "x", "added_tokens[0]");
}

TEST_CASE("files around tokenizer.json are checked too", "[tokenizer]") {
  check_contains(refusal([] {
                   load_json(tiny_json(), {{"add_bos_token", "x"}});
                 }),
                 "add_bos_token");
  check_contains(refusal([] { load_json(tiny_json(), json::array()); }), "want an object");
  const TemporaryDirectory chat;
  chat.write("tokenizer.json", tiny_json().dump());
  chat.write("chat_template.jinja", "a\xFF");
  check_contains(refusal([&] { load_tokenizer(chat.path()); }),
                 "chat_template.jinja: not UTF-8 at byte 1");
  const TemporaryDirectory directory;
  check_contains(refusal([&] { load_tokenizer(directory.path()); }), "no tokenizer.json");
  check_contains(refusal([&] { load_tokenizer(directory.path() / "missing"); }), "missing");

  check_contains(refusal([&] { load_tokenizer(directory.write("short", "x")); }), "short");
  directory.write("tokenizer.json", "{\"model\": ");
  check_contains(refusal([&] { load_tokenizer(directory.path()); }), "not JSON");
  directory.write("tokenizer.json", std::string(1000000, '['));
  check_contains(refusal([&] { load_tokenizer(directory.path()); }), "deep");
}

}  // namespace
}  // namespace slice
