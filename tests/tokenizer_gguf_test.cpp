#include <catch2/catch_test_macros.hpp>

#include "libslice/bpe.h"
#include "libslice/tokenizer.h"
#include "tests/support/gguf_writer.h"
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
  std::string model = "gpt2", pre = "smollm";
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
    file.text("tokenizer.chat_template", "{{ messages }}");
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

TEST_CASE("a malformed or unsupported GGUF tokenizer is refused", "[tokenizer]") {
  const auto refused = [](auto change, const char* part) {
    TinyGguf gguf;
    change(gguf);
    check_contains(refusal([&] { gguf.load(); }), part);
  };
  refused([](auto& g) { g.model = "llama"; }, "'llama'");
  refused([](auto& g) { g.pre = "martian"; }, "martian");
  refused([](auto& g) { g.types.pop_back(); }, "token_type");
  refused([](auto& g) { g.merges[2] = "hell"; }, "merges[2]");
  refused([](auto& g) { g.merges[2] = "he zz"; }, "'zz' is no token");
  refused([](auto& g) { g.tokens[9] = g.tokens[8]; }, "token 9");
  refused([](auto& g) { g.bos = 1u << 31; }, "beginning-of-sequence");
}

}  // namespace
}  // namespace slice
