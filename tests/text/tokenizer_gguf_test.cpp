#include <fmt/core.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <cmath>

#include "libslice/text/bpe.h"
#include "libslice/text/detail/pre_tokenizer.h"
#include "libslice/text/detail/pre_tokenizer_table.h"
#include "libslice/text/detail/word_splitter.h"
#include "libslice/text/tokenizer.h"
#include "tests/support/gguf_writer.h"
#include "tests/support/heard_warnings.h"
#include "tests/support/tiny_vocabulary.h"
#include "tests/support/tokenizer_files.h"

namespace slice {
namespace {

using tests::awkward_texts;
using tests::check_contains;
using tests::file_of;
using tests::GgufWriter;
using tests::refusal;
using tests::TemporaryDirectory;
using tests::tiny_definition;

struct TinyGguf {
  std::string model = "gpt2", pre = "smollm", chat_template = "{{ messages }}";
  std::vector<std::string> tokens = tiny_definition().tokens, merges;
  std::vector<int32_t> types = std::vector<int32_t>(tokens.size(), 1);
  uint32_t bos = 1;

  TinyGguf() {
    for (const auto& [left, right] : tests::tiny_merges()) merges.push_back(left + " " + right);
    types[0] = types[1] = 3;
  }
  std::shared_ptr<const Tokenizer> load() const {
    GgufWriter file;
    file.text("tokenizer.ggml.model", model);
    file.text("tokenizer.ggml.pre", pre);
    file.texts("tokenizer.ggml.tokens", tokens);
    file.texts("tokenizer.ggml.merges", merges);
    file.numbers("tokenizer.ggml.token_type", types);
    file.number("tokenizer.ggml.bos_token_id", bos);
    file.number("tokenizer.ggml.eos_token_id", 0);
    file.flag("tokenizer.ggml.add_bos_token", false);
    file.text("tokenizer.chat_template", chat_template);
    const TemporaryDirectory directory;
    return load_tokenizer(directory.write("model.gguf", file.bytes()));
  }
};

TEST_CASE("a GGUF's tokenizer, and its written form", "[tokenizer]") {
  const auto expected = make_bpe_tokenizer(tiny_definition());
  const auto loaded = TinyGguf().load();
  CHECK(loaded->files().size() == 2);
  CHECK(file_of(*loaded, "tokenizer.json") == file_of(*expected, "tokenizer.json"));
  CHECK(file_of(*loaded, "tokenizer_config.json") == file_of(*expected, "tokenizer_config.json"));
  for (const std::string& text : awkward_texts()) {
    CHECK(loaded->encode(text, true) == expected->encode(text, true));
  }
  TinyGguf user_defined;
  user_defined.types[1] = 4;
  CHECK(user_defined.load()->encode("<|begin|>") == std::vector<int64_t>{1});
  TinyGguf gpt2;
  gpt2.pre = "gpt-2";
  CHECK(gpt2.load()->encode("12").size() == 1);
}

// SentencePiece's pieces: a few words, their letters, and 256 bytes.
struct TinyLlamaGguf {
  std::vector<std::string> tokens = {"<unk>", "<s>", "</s>"};
  std::vector<float> scores = {0, 0, 0};
  std::vector<int32_t> types = {2, 3, 3};
  GgufWriter more;  // other keys

  TinyLlamaGguf() {
    for (int byte = 0; byte < 256; ++byte) add(fmt::format("<0x{:02X}>", byte), 0, 6);
    for (const char* word : {"he", "ll", "▁he", "hello", "llo", "▁▁"}) {
      add(word, -static_cast<float>(tokens.size()), 1);
    }
    for (const char* letter : {"▁", "h", "e", "l", "o", "<", "s", ">"}) add(letter, -1000, 1);
  }
  void add(const std::string& token, float score, int32_t type) {
    tokens.push_back(token);
    scores.push_back(score);
    types.push_back(type);
  }
  int64_t id(const std::string& token) const {
    return std::ranges::find(tokens, token) - tokens.begin();
  }
  std::shared_ptr<const Tokenizer> load() const {
    GgufWriter file = more;
    file.text("tokenizer.ggml.model", "llama");
    file.texts("tokenizer.ggml.tokens", tokens);
    file.reals("tokenizer.ggml.scores", scores);
    file.numbers("tokenizer.ggml.token_type", types);
    const TemporaryDirectory directory;
    return load_tokenizer(directory.write("model.gguf", file.bytes()));
  }
};

TEST_CASE("a GGUF's SentencePiece vocabulary, and its written form", "[tokenizer]") {
  using Ids = std::vector<int64_t>;
  TinyLlamaGguf gguf;
  gguf.add("▁▁sep▁", 0, 4);
  const int64_t separator = std::ssize(gguf.tokens) - 1;
  const auto loaded = gguf.load();
  CHECK(loaded->bos_token() == 1);
  CHECK(loaded->eos_tokens() == Ids{2});
  CHECK(loaded->adds_bos());
  // "▁he" has a higher score than "hello", which the text would spell too.
  CHECK(loaded->encode("hello") == Ids{gguf.id("▁he"), gguf.id("llo")});
  CHECK(loaded->encode("é") == Ids{gguf.id("▁"), 3 + 0xC3, 3 + 0xA9});
  CHECK(loaded->encode("<s>", true) == Ids{1});
  CHECK(loaded->encode("<s>").size() == 4);
  CHECK(loaded->encode("h  sep h") ==
        Ids{gguf.id("▁"), gguf.id("h"), separator, gguf.id("▁"), gguf.id("h")});
  CHECK(loaded->encode("").empty());
  const TemporaryDirectory directory;
  tests::write_files(*loaded, directory);
  const auto written = load_tokenizer(directory.path());
  CHECK(written->adds_bos());
  for (std::string text : awkward_texts()) {
    for (const char* part : {"", "  sep ", "</s>"}) {
      text += part;
      CHECK(written->encode(text, true) == loaded->encode(text, true));
      CHECK(loaded->decode(loaded->encode(text)) == loaded->decode(written->encode(text)));
    }
  }
}

TEST_CASE("what a GGUF says about its SentencePiece vocabulary counts", "[tokenizer]") {
  using Ids = std::vector<int64_t>;
  TinyLlamaGguf gguf;
  gguf.more.flag("tokenizer.ggml.add_space_prefix", false);
  gguf.more.flag("tokenizer.ggml.add_bos_token", false);
  gguf.more.number("tokenizer.ggml.bos_token_id", 2);
  gguf.more.number("tokenizer.ggml.eos_token_id", 1);
  const auto loaded = gguf.load();
  CHECK(loaded->encode("he he") == Ids{gguf.id("he"), gguf.id("▁he")});
  CHECK(loaded->decode(Ids{gguf.id("▁he")}) == " he");
  CHECK(loaded->bos_token() == 2);
  CHECK(loaded->eos_tokens() == Ids{1});
  CHECK_FALSE(loaded->adds_bos());
  const TemporaryDirectory directory;
  tests::write_files(*loaded, directory);
  const auto written = load_tokenizer(directory.path());
  CHECK(written->encode("he he") == loaded->encode("he he"));
  CHECK(written->decode(Ids{gguf.id("▁he")}) == " he");
  CHECK_FALSE(written->adds_bos());
}

TEST_CASE("only Llama 3's byte-level vocabulary begins a text by itself", "[tokenizer]") {
  for (const char* pre : {"default", "gpt-2", "phi-2", "smollm", "qwen2", "llama-bpe"}) {
    for (const int flag : {-1, 0, 1}) {
      GgufWriter file;
      file.text("tokenizer.ggml.model", "gpt2");
      file.text("tokenizer.ggml.pre", pre);
      file.texts("tokenizer.ggml.tokens", tiny_definition().tokens);
      file.texts("tokenizer.ggml.merges", {});
      file.number("tokenizer.ggml.bos_token_id", 1);
      if (flag >= 0) file.flag("tokenizer.ggml.add_bos_token", flag == 1);
      const TemporaryDirectory directory;
      const auto tokenizer = load_tokenizer(directory.write("model.gguf", file.bytes()));
      CHECK(tokenizer->adds_bos() == (flag >= 0 ? flag == 1 : pre == std::string("llama-bpe")));
    }
  }
}

TEST_CASE("a malformed SentencePiece vocabulary of a GGUF is refused", "[tokenizer]") {
  const auto refused = [](auto change, const char* part) {
    TinyLlamaGguf gguf;
    change(gguf);
    check_contains(refusal([&] { gguf.load(); }), part);
    check_contains(refusal([&] { gguf.load(); }), "model.gguf");
  };
  refused([](auto& g) { g.scores.pop_back(); }, "tokenizer.ggml.scores has");
  refused([](auto& g) { g.scores.clear(); }, "tokenizer.ggml.scores has 0");
  refused([](auto& g) { g.types.pop_back(); }, "tokenizer.ggml.token_type has");
  refused([](auto& g) { g.types.clear(); }, "token_type");
  refused([](auto& g) { g.types[5] = 7; }, "type 7");
  refused([](auto& g) { g.types[1] = 2; }, "both the unknown piece");
  refused([](auto& g) { g.types[260] = 6; }, "want <0xNN>");
  refused([](auto& g) { g.scores[260] = NAN; }, "piece 260 'll' is NaN");
}

TEST_CASE("pieces of a GGUF that no text can use are left out with a warning", "[tokenizer]") {
  const auto warned = [](auto change, const char* part) {
    const tests::HeardWarnings heard;
    TinyLlamaGguf gguf;
    change(gguf);
    const auto tokenizer = gguf.load();
    CHECK(tokenizer->decode(tokenizer->encode("he ll")) == "he ll");
    check_contains(heard.text(), part);
    check_contains(heard.text(), "model.gguf");
  };
  warned([](auto& g) { g.tokens[260] = "lq"; }, "no pieces are never found in a text: 260 'lq'");
  warned([](auto& g) { g.tokens[260] = "\xFF"; }, "not UTF-8 are ignored: 260");
  warned([](auto& g) { g.tokens[260] = "he"; }, "equal tokens, of which a text gets the first");
  warned([](auto& g) { g.more.number("tokenizer.ggml.bos_token_id", 5000); }, "token 5000");
  const tests::HeardWarnings heard;
  TinyLlamaGguf empty;
  empty.tokens[260] = "";
  CHECK(empty.load()->decode(empty.load()->encode("he ll")) == "he ll");
  CHECK(heard.text().empty());
}

TEST_CASE("a malformed or unsupported GGUF tokenizer is refused", "[tokenizer]") {
  const auto refused = [](auto change, const char* part) {
    TinyGguf gguf;
    change(gguf);
    check_contains(refusal([&] { gguf.load(); }), part);
  };
  refused([](auto& g) { g.model = "bert"; }, "'bert'");
  refused([](auto& g) { g.types.pop_back(); }, "token_type");
  refused([](auto& g) { g.merges[2] = "hell"; }, "merges[2]");
  refused([](auto& g) { g.chat_template = "{{ \xFF }}"; },
          "model.gguf: tokenizer.chat_template: not UTF-8 at byte 3");
}

TEST_CASE("a byte-level GGUF warns of what no text can use", "[tokenizer]") {
  const auto warned = [](auto change, const char* part) {
    const tests::HeardWarnings heard;
    TinyGguf gguf;
    change(gguf);
    const auto tokenizer = gguf.load();
    CHECK(tokenizer->decode(tokenizer->encode("hello wor")) == "hello wor");
    check_contains(heard.text(), part);
    check_contains(heard.text(), "model.gguf");
  };
  warned([](auto& g) { g.merges[2] = "he zz"; }, "not a token are ignored: 'he zz'");
  warned([](auto& g) { g.tokens[9] = g.tokens[8]; }, "equal tokens");
  warned([](auto& g) { g.tokens[0] = "\xFF"; }, "not UTF-8 are ignored: 0");
  warned([](auto& g) { g.bos = 1u << 31; }, "beginning-of-sequence token 2147483648");
  warned([](auto& g) { g.pre = "martian"; }, "tokenizer.ggml.pre 'martian' is not known");
  warned([](auto& g) { g.pre = ""; }, "no tokenizer.ggml.pre says how words are cut");
}

TEST_CASE("llama.cpp's pre-tokenizers of byte-level BPE", "[tokenizer]") {
  const std::string text = "It's 12345  Caf\u00e9S, \u6f22\u5b57!\n\n";
  const auto words = [&](const char* name) {
    BpeDefinition definition;
    definition.source = "tiny";
    REQUIRE(detail::add_pre_tokenizer(name, definition));
    std::string found;
    detail::WordSplitter splitter(definition.splits, "tiny");
    splitter.split(text, true, [&](std::string_view word) { found.append(word).append("|"); });
    return found;
  };
  CHECK(words("gpt-2") == "It|'s| 12345| | Caf\u00e9S|,| \u6f22\u5b57|!|\n\n|");
  CHECK(words("falcon3") == "It|'s| |123|45| | Caf\u00e9S|,| \u6f22\u5b57|!\n\n|");
  CHECK(words("smaug-bpe") == words("llama-bpe"));
  CHECK(words("megrez") == "It|'s| |1|2|3|4|5| | Caf\u00e9S|,| \u6f22\u5b57|!\n\n|");
  CHECK(words("command-r") == "It|'s| |1|2|3|4|5| | Caf\u00e9S|,| \u6f22\u5b57|!|\n\n|");
  CHECK(words("tekken") == "It|'s| |1|2|3|4|5| | Caf\u00e9|S|,| \u6f22\u5b57|!\n\n|");
  CHECK(words("gpt-4o") == "It's| |123|45| | Caf\u00e9|S|,| \u6f22\u5b57|!\n\n|");
  CHECK(words("superbpe") == "It's |12|345|  Caf\u00e9S, \u6f22\u5b57!\n\n|");
  CHECK(words("deepseek-coder") == "It|'|s| |1|2|3|4|5| | Caf\u00e9S|,| |\u6f22\u5b57|!|\n|\n|");
  for (const detail::PreTokenizer& entry : detail::pre_tokenizers()) {
    for (const char* name : entry.names) {
      CHECK(words(name).size() > text.size());
      BpeDefinition definition;
      detail::add_pre_tokenizer(name, definition);
      CHECK(detail::pre_tokenizer_name(definition) == entry.names.front());
    }
  }
}

}  // namespace
}  // namespace slice
