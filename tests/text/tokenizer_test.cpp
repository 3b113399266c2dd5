#include "libslice/text/tokenizer.h"

#include <catch2/catch_test_macros.hpp>
#include <utility>

#include "tests/support/shared_data.h"

namespace slice {
namespace {

TEST_CASE("the llama2.c models next to the project find their tokenizers", "[tokenizer]") {
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
