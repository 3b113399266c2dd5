#pragma once

#include <catch2/catch_test_macros.hpp>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "libslice/base/detail/file.h"
#include "libslice/checkpoint/model.h"
#include "libslice/model/config_json.h"
#include "libslice/text/bpe.h"
#include "libslice/text/detail/pre_tokenizer.h"
#include "tests/support/tiny_model.h"
#include "tests/support/tiny_vocabulary.h"

namespace slice::tests {

/// Of a model that writes a conversation: sampling defaults, and end tokens that config.json lacks.
inline constexpr char kGeneration[] = R"({"bos_token_id": 1, "do_sample": true,
  "eos_token_id": [5, 0], "pad_token_id": 4, "repetition_penalty": 1.1, "temperature": 0.6,
  "top_k": 40, "top_p": 0.9})";

/// A directory whose files name different end tokens: config.json 2, generation_config.json 5 and
/// 0, tokenizer_config.json 0. @return  its path
inline std::filesystem::path write_three_ends(const std::filesystem::path& directory) {
  BpeDefinition definition = tiny_definition();
  definition.splits.clear();
  REQUIRE(detail::add_pre_tokenizer("smollm", definition));
  const auto tokenizer = make_bpe_tokenizer(definition);
  ModelConfig config = tiny_config();
  config.vocabulary_size = tokenizer->vocabulary_size();
  config.pad_token = 4;
  save_model(Model(random_decoder(config, 1, at::kFloat), tokenizer, at::kFloat), directory);
  std::ofstream(directory / "config.json") << config_json(config, "float32");
  std::ofstream(directory / "generation_config.json") << kGeneration;
  return directory;
}

/// Checks that a directory made from that one has all end tokens wherever they are looked for, and
/// that nothing else of generation_config.json was changed.
inline void check_three_ends(const std::filesystem::path& directory) {
  using Ids = std::vector<int64_t>;
  const Model model = load_model(directory);
  CHECK(model.config().eos_tokens == Ids{2, 5, 0});
  CHECK(model.tokenizer().eos_tokens() == Ids{0, 5, 2});
  const auto read = [&](const char* name) {
    return nlohmann::json::parse(detail::read_text_file(directory / name));
  };
  auto want = nlohmann::json::parse(kGeneration);
  want["eos_token_id"] = Ids{5, 0, 2};
  CHECK(read("generation_config.json") == want);
  CHECK(read("config.json")["eos_token_id"] == Ids{2, 5, 0});
  CHECK(read("config.json")["pad_token_id"] == 4);
}

}  // namespace slice::tests
