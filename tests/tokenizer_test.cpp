#include "libslice/tokenizer.h"

#include <catch2/catch_test_macros.hpp>
#include <tuple>

#include "tests/support/shared_data.h"
#include "tests/support/temporary_directory.h"

namespace slice {
namespace {

using tests::TemporaryDirectory;

TEST_CASE("the demo model's tokens of WikiText-2", "[tokenizer]") {
  const auto model = tests::demo_model();
  const auto text = tests::shared_text("wikitext-2/wiki.test.tokens.xz");
  if (!model || !text) SKIP("needs the demo model, ../shared/data/wikitext-2 and xz");
  const auto tokenizer = load_tokenizer(*model);
  const auto ids = tokenizer->encode(*text);
  CHECK(ids.size() == 312144);  // Hugging Face tokenizers on the same text
  CHECK(tokenizer->decode(ids) == *text);
}

TEST_CASE("published tokenizers give the token counts of Hugging Face's", "[tokenizer]") {
  const std::tuple<const char*, size_t> table[] = {
      {"tokenizers/phi-2/tokenizer.json.xz", 295877},
      {"tokenizers/neox/20B_tokenizer.json.xz", 295232},
      {"tokenizers/llama2/tokenizer.json.xz", 339369},
  };
  const auto text = tests::shared_text("wikitext-2/wiki.test.tokens.xz");
  for (const auto& [path, count] : table) {
    const auto tokenizer = tests::shared_text(path);
    if (!text || !tokenizer) SKIP("needs ../shared/data and xz");
    const TemporaryDirectory directory;
    directory.write("tokenizer.json", *tokenizer);
    INFO(path);
    CHECK(load_tokenizer(directory.path())->encode(*text).size() == count);
  }
}

TEST_CASE("the llama2.c models beside the project find their tokenizers", "[tokenizer]") {
  const std::pair<const char*, int64_t> table[] = {
      {"models/stories260K/stories260K.bin", 512},
      {"models/babyllama-tok105/tok105_model5000.bin", 105},
  };
  for (const auto& [path, size] : table) {
    const auto model = tests::shared_data(path);
    if (!model) SKIP("needs ../shared/data/models");
    const auto tokenizer = load_tokenizer(*model);
    CHECK(tokenizer->vocabulary_size() == size);
    const std::string text = "Once upon a time, there was a little girl.";
    CHECK(tokenizer->decode(tokenizer->encode(text)) == text);
  }
}

}  // namespace
}  // namespace slice
