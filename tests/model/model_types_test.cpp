#include "libslice/model/families/model_types.h"

#include <catch2/catch_all.hpp>
#include <nlohmann/json.hpp>

#include "libslice/base/error.h"
#include "libslice/model/config_json.h"
#include "tests/support/matchers.h"

namespace slice {
namespace {

using nlohmann::json;

json small(const std::string& type) {
  return {{"model_type", type},       {"hidden_size", 32},
          {"num_hidden_layers", 2},   {"num_attention_heads", 4},
          {"num_key_value_heads", 2}, {"intermediate_size", 44},
          {"vocab_size", 90},         {"max_position_embeddings", 128}};
}

TEST_CASE("networks that are not run are refused by what they would need") {
  for (const char* type :
       {"qwen3_5", "qwen3_next", "falcon_h1", "lfm2", "granitemoehybrid", "nemotron_h",
        "deepseek_v3", "gpt_oss", "gemma3n", "gemma3n_text", "gemma4", "granitemoe", "phimoe"}) {
    INFO(type);
    const std::string need = models::what_it_would_need(type);
    REQUIRE_FALSE(need.empty());
    CHECK_THROWS_NAMING(parse_config(small(type).dump(), "x"), FormatError,
                        "'" + std::string(type) + "' is not supported: it would need " + need);
  }
  CHECK(models::what_it_would_need("llama").empty());
  CHECK_THROWS_NAMING(parse_config(small("mamba").dump(), "x"), FormatError,
                      "libslice reads apertus");
}

TEST_CASE("of a model of text and images the text's configuration is read") {
  json text = small("mistral");
  text["head_dim"] = 16;
  json whole = {{"model_type", "mistral3"},
                {"text_config", text},
                {"vision_config", {{"model_type", "pixtral"}}},
                {"eos_token_id", 7}};
  const ModelConfig c = parse_config(whole.dump(), "x");
  CHECK(c.family == "mistral");
  CHECK(c.head_size == 16);
  CHECK(c.eos_tokens == std::vector<int64_t>{7});
  whole["tie_word_embeddings"] = true;
  CHECK(parse_config(whole.dump(), "x").tied_head);
  whole["text_config"].erase("model_type");
  CHECK(parse_config(whole.dump(), "x").family == "mistral");
  json quantised = whole;
  quantised["quantization_config"] = {{"quant_method", "fp8"}};
  CHECK_THROWS_NAMING(parse_config(quantised.dump(), "x"), FormatError, "quantization_config");
  whole["text_config"]["model_type"] = "ministral3";
  CHECK(parse_config(whole.dump(), "x").query_growth == QueryGrowth{0.1, 16384});
  json gemma = {{"model_type", "gemma3"}, {"text_config", small("gemma3_text")}};
  CHECK(parse_config(gemma.dump(), "x").family == "gemma3");
  gemma["text_config"]["final_logit_softcapping"] = 30.0;
  CHECK_THROWS_NAMING(parse_config(gemma.dump(), "x"), FormatError, "final_logit_softcapping");
  gemma["text_config"]["final_logit_softcapping"] = nullptr;
  gemma["text_config"].erase("model_type");
  CHECK(parse_config(gemma.dump(), "x").family == "gemma3");
  whole.erase("text_config");
  CHECK_THROWS_NAMING(parse_config(whole.dump(), "x"), FormatError, "text_config is missing");
}

}  // namespace
}  // namespace slice
