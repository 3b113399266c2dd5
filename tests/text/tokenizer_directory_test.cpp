#include <catch2/catch_test_macros.hpp>
#include <nlohmann/json.hpp>

#include "libslice/text/bpe.h"
#include "libslice/text/tokenizer.h"
#include "tests/support/heard_warnings.h"
#include "tests/support/tiny_tokenizer_json.h"
#include "tests/support/tiny_vocabulary.h"
#include "tests/support/tokenizer_files.h"

// Directories as Transformers reads them: what is ignored, which file counts, which components.

namespace slice {
namespace {

using nlohmann::json;
using tests::check_contains;
using tests::file_of;
using tests::load_json;
using tests::TemporaryDirectory;
using tests::tiny_definition;
using tests::tiny_json;

TEST_CASE("ids and names that cannot be used are ignored with a warning", "[tokenizer]") {
  const auto expected = make_bpe_tokenizer(tiny_definition());
  const auto warned = [&](const json& tokenizer, const json& config, const char* part) {
    const tests::HeardWarnings heard;
    const auto loaded = load_json(tokenizer, config);
    CHECK(loaded->encode("hello world") == expected->encode("hello world"));
    check_contains(heard.text(), part);
  };
  warned(tiny_json(), {{"pad_token", "[PAD]"}},
         "tokenizer_config.json: pad_token '[PAD]' is not a token and is ignored");
  warned(tiny_json(), {{"bos_token", ""}}, "");
  warned(tiny_json(), {{"add_bos_token", true}}, "none is named");
  json tokenizer = tiny_json();
  tokenizer["model"]["unk_token"] = "nothing";
  warned(tokenizer, {}, "unk_token 'nothing' is not a token");
  tokenizer = tiny_json();
  tokenizer["model"]["vocab"]["far"] = 1 << 30;
  tokenizer["model"]["vocab"]["also"] = 5;
  warned(tokenizer, {}, "are ignored: ");
  warned(tiny_json(), {{"added_tokens_decoder", {{"77777777", {{"content", "<x>"}}}}}},
         "'<x>' (77777777)");
}

TEST_CASE("ids may have holes, and tokens far behind them", "[tokenizer]") {
  json tokenizer = tiny_json();
  const auto size = make_bpe_tokenizer(tiny_definition())->vocabulary_size();
  tokenizer["added_tokens"].push_back(
      {{"id", size + 40}, {"content", "<|far|>"}, {"normalized", false}, {"special", true}});
  const auto loaded = load_json(tokenizer);
  CHECK(loaded->vocabulary_size() == size + 41);
  CHECK(loaded->encode("<|far|>", true) == std::vector<int64_t>{size + 40});
  CHECK(loaded->decode(std::vector<int64_t>{size + 7}, true).empty());
}

TEST_CASE("tokens that tokenizer_config.json lists are special unless the file says more",
          "[tokenizer]") {
  json tokenizer = tiny_json();
  tokenizer["added_tokens"].erase(1);
  const json list = {"<|begin|>"}, named = {{"begin", "<|begin|>"}};
  for (const auto& [key, value] :
       {std::pair("extra_special_tokens", list), std::pair("additional_special_tokens", list),
        std::pair("extra_special_tokens", named)}) {
    CHECK(load_json(tokenizer, {{key, value}})->encode("<|begin|>", true) ==
          std::vector<int64_t>{1});
    CHECK(load_json(tokenizer, {{key, value}})->encode("<|begin|>").size() > 1);
  }
  json plain = tiny_json();
  plain["added_tokens"][1]["special"] = false;
  CHECK(load_json(plain, {{"extra_special_tokens", list}})->encode("<|begin|>").size() == 1);
}

TEST_CASE("the classes of Transformers that bring their own words", "[tokenizer]") {
  json tokenizer = tiny_json();  // cut before each digit, as neither class does
  const auto size = [&](const json& config, const std::string& text) {
    return load_json(tokenizer, config)->encode(text).size();
  };
  CHECK(size({{"tokenizer_class", "PreTrainedTokenizerFast"}}, "12") == 2);
  CHECK(size({{"tokenizer_class", "GPT2Tokenizer"}}, "12") == 1);
  CHECK(size({{"tokenizer_class", "GPT2TokenizerFast"}}, "wor") == 2);
  CHECK(size({{"tokenizer_class", "GPT2Tokenizer"}, {"add_prefix_space", true}}, "wor") == 1);
  CHECK(size({{"tokenizer_class", "PreTrainedTokenizerFast"}, {"add_prefix_space", true}}, "wor") ==
        2);
  CHECK(size({{"tokenizer_class", "Qwen2Tokenizer"}}, "12") == 2);
  CHECK(size({{"tokenizer_class", "LlamaTokenizer"}}, "12") == 2);  // byte-level: as the file says

  tokenizer["model"]["vocab"] = {{"<|end|>", 0}, {"<|begin|>", 1}, {"▁", 2},
                                 {"a", 3},       {"▁a", 4},        {"▁▁", 5}};
  tokenizer["model"]["merges"] = {"▁ ▁", "▁ a"};
  tokenizer["normalizer"] = json::parse(R"({"type": "Sequence", "normalizers": [
      {"type": "Prepend", "prepend": "▁"},
      {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]})");
  tokenizer["pre_tokenizer"] = nullptr;
  tokenizer["decoder"] = json::parse(R"({"type": "Fuse"})");
  const auto encode = [&](const json& config, const std::string& text) {
    return load_json(tokenizer, config)->encode(text, true);
  };
  using Ids = std::vector<int64_t>;
  CHECK(encode({}, " a") == Ids{5, 3});
  CHECK(encode({{"tokenizer_class", "LlamaTokenizer"}}, " a<|end|>a") == Ids{4, 0, 3});
  CHECK(encode({{"tokenizer_class", "LlamaTokenizer"}, {"legacy", true}}, "a<|end|>a") ==
        Ids{4, 0, 4});
  CHECK(encode({{"tokenizer_class", "LlamaTokenizer"}, {"add_prefix_space", false}}, "a") ==
        Ids{3});
}

TEST_CASE("without a decoder tokens are written as they are", "[tokenizer]") {
  json tokenizer = tiny_json();
  tokenizer["decoder"] = nullptr;
  CHECK(load_json(tokenizer)->decode(make_bpe_tokenizer(tiny_definition())->encode("hello wor")) ==
        "hello \u0120wor");
}

TEST_CASE("a decoder of bytes without a pre-tokenizer of bytes", "[tokenizer]") {
  json tokenizer = tiny_json();
  tokenizer["pre_tokenizer"] = {{"type", "WhitespaceSplit"}};
  const auto loaded = load_json(tokenizer);
  const std::vector<int64_t> ids = make_bpe_tokenizer(tiny_definition())->encode("hello wor");
  CHECK(loaded->decode(ids) == "hello wor");
  CHECK(loaded->decode(loaded->encode("hello  wor")) == "hellowor");
}

TEST_CASE("a decoder with Metaspace drops every mark of the first token", "[tokenizer]") {
  json tokenizer = tiny_json();
  tokenizer["model"]["vocab"] = {{"<|end|>", 0}, {"<|begin|>", 1}, {"▁", 2}, {"▁▁", 3}, {"a", 4}};
  tokenizer["model"]["merges"] = {"▁ ▁"};
  tokenizer["pre_tokenizer"] = tokenizer["decoder"] = {
      {"type", "Metaspace"}, {"prepend_scheme", "always"}, {"split", false}};
  const auto loaded = load_json(tokenizer);
  CHECK(loaded->decode(std::vector<int64_t>{3, 4, 3, 4}) == "a  a");
  CHECK(loaded->decode(std::vector<int64_t>{0, 3, 4}, true) == "<|end|>  a");
}

TEST_CASE("normalisers of tokenizer.json", "[tokenizer]") {
  json tokenizer = tiny_json();
  const auto text_after = [&](const char* normalizer, const std::string& text) {
    tokenizer["normalizer"] = json::parse(normalizer);
    const auto loaded = load_json(tokenizer);
    return loaded->decode(loaded->encode(text));
  };
  CHECK(text_after(R"({"type": "Lowercase"})", "ÄB\u0130") == "äbi\u0307");
  CHECK(text_after(R"({"type": "NFKC"})", "\ufb01 e\u0301") == "fi \u00e9");
  CHECK(text_after(R"({"type": "NFD"})", "\u00e9") == "e\u0301");
  CHECK(text_after(R"({"type": "NFKD"})", "\ufb01\u00e9") == "fie\u0301");
  CHECK(text_after(R"({"type": "Strip", "strip_left": true, "strip_right": false})", " \u3000a ") ==
        "a ");
  CHECK(text_after(R"({"type": "Strip"})", " a \n") == "a");
  CHECK(text_after(R"({"type": "Sequence", "normalizers": [{"type": "NFD"},
      {"type": "StripAccents"}]})",
                   "caf\u00e9") == "cafe");
  CHECK(text_after(R"({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "_"})",
                   "a  b c") == "a_b c");
  tokenizer["pre_tokenizer"] = nullptr;  // bytes are spelled once
  CHECK(text_after(R"({"type": "ByteLevel"})", "\u00e9 a") == "\u00e9 a");
}

TEST_CASE("pre-tokenizers of tokenizer.json", "[tokenizer]") {
  json tokenizer = tiny_json();
  const auto pieces = [&](const std::string& parts, const std::string& text) {
    tokenizer["pre_tokenizer"] =
        json::parse(R"({"type": "Sequence", "pretokenizers": [)" + parts + "]}");
    const auto loaded = load_json(tokenizer);
    std::vector<std::string> found;
    for (const int64_t id : loaded->encode(text)) found.push_back(loaded->decode(std::vector{id}));
    return found;
  };
  using Pieces = std::vector<std::string>;
  const std::string bytes = R"(, {"type": "ByteLevel", "add_prefix_space": false,
      "use_regex": false})";
  CHECK(pieces(R"({"type": "Whitespace"})" + bytes, " aa !ab") == Pieces{"aa", "!", "ab"});
  CHECK(pieces(R"({"type": "WhitespaceSplit"})" + bytes, "aa  wor") == Pieces{"aa", "w", "or"});
  CHECK(pieces(R"({"type": "CharDelimiterSplit", "delimiter": "."})" + bytes, "a.a.") ==
        Pieces{"a", "a"});
  CHECK(pieces(R"({"type": "FixedLength", "length": 3})" + bytes, "aaaaaaaa") ==
        Pieces{"aaa", "aaa", "aa"});
  CHECK(pieces(R"({"type": "Punctuation", "behavior": "Removed"})" + bytes, "a'sa") ==
        Pieces{"a", "s", "a"});
  const std::string spelled = R"({"type": "ByteLevel", "add_prefix_space": false,
      "use_regex": false}, {"type": "Split", "pattern": {"String": ")"
                              "\u0120"
                              R"("}, "behavior": "Isolated", "invert": false})";
  CHECK(pieces(spelled, "a  wor") == Pieces{"a", " ", " ", "w", "or"});
  CHECK(pieces(R"({"type": "WhitespaceSplit"}, {"type": "ByteLevel", "add_prefix_space": true,
      "use_regex": false})",
               "wor wor") == Pieces{" wor", " wor"});
}

}  // namespace
}  // namespace slice
