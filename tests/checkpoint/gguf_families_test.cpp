// GGUF files of every family that llama.cpp has an architecture for.

#include <ATen/ATen.h>

#include <catch2/catch_all.hpp>
#include <filesystem>
#include <functional>
#include <set>

#include "libslice/base/error.h"
#include "libslice/checkpoint/checkpoint.h"
#include "libslice/checkpoint/gguf_write.h"
#include "libslice/format/gguf.h"
#include "libslice/model/config_json.h"
#include "libslice/model/decoder.h"
#include "libslice/model/families/family.h"
#include "tests/support/error_bounds.h"
#include "tests/support/matchers.h"
#include "tests/support/places.h"
#include "tests/support/sliced_layouts.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

namespace fs = std::filesystem;
using at::Tensor;
using namespace tests;

using Change = std::function<void(ModelConfig&)>;

/// That of a tiny checkpoint.
ModelConfig config_of(const std::string& name) {
  return read_config(tests::data_directory() / name);
}

ModelConfig changed(const std::string& name, const Change& change) {
  ModelConfig config = config_of(name);
  change(config);
  return config;
}

void no_window(ModelConfig& c) {
  c.sliding_window.reset();
  c.window_layers.clear();
}

void tied(ModelConfig& c) { c.tied_head = true; }

void no_output_bias(ModelConfig& c) { c.output_bias = false; }

void without_biases(ModelConfig& c) { c.qkv_bias = c.output_bias = c.mlp_bias = false; }

/// llama.cpp's OLMoE has a norm as wide as the hidden size for keys too.
void keys_of_all(ModelConfig& c) { c.kv_heads = c.heads; }

/// A GGUF file has divisors alone, and they are told by the constants of published models.
void published_scaling(ModelConfig& c) {
  c.rope_scaling->original_context = 8192;
  c.rope_theta = 1e8;  // some frequencies are low
}

/// SmolLM3's pattern of layers that turn.
void three_of_four(ModelConfig& c) {
  no_window(c);
  c.layers = 5;
  c.rotary_layers = {true, true, true, false, true};
}

void hybrid(ModelConfig& c) {
  c.layers = 64;
  c.window_layers.assign(64, true);
  for (size_t layer = 3; layer < 64; layer += 4) c.window_layers[layer] = false;
  c.rotary_layers = c.window_layers;
}

struct Row {
  ModelConfig config;
  std::string architecture;
};

/// Read back as the same family.
std::vector<Row> written() {
  return {{config_of("tiny_llama_gqa"), "llama"},
          {config_of("tiny_mistral_window"), "llama"},
          {config_of("tiny_mistral_yarn"), "mistral3"},
          {config_of("tiny_qwen2"), "qwen2"},
          {config_of("tiny_qwen3"), "qwen3"},
          {config_of("tiny_phi"), "phi2"},
          {config_of("tiny_phi3_window"), "phi3"},
          {config_of("tiny_phi3_long"), "phi3"},
          {changed("tiny_smollm3", three_of_four), "smollm3"},
          {config_of("tiny_granite"), "granite"},
          {config_of("tiny_gemma"), "gemma"},
          {changed("tiny_gemma2", [](ModelConfig& c) { c.attention_scale.reset(); }), "gemma2"},
          {config_of("tiny_gemma3"), "gemma3"},
          {changed("tiny_seed_oss", no_output_bias), "seed_oss"},
          {changed("tiny_ernie4_5", without_biases), "ernie4_5"},
          {config_of("tiny_arcee"), "arcee"},
          {config_of("tiny_olmo"), "olmo"},
          {config_of("tiny_olmo2"), "olmo2"},
          {config_of("tiny_olmo3"), "olmo2"},
          {changed("tiny_exaone4",
                   [](ModelConfig& c) {
                     no_window(c);
                     c.rotary_layers.clear();
                   }),
           "exaone4"},
          {changed("tiny_exaone4", hybrid), "exaone4"},
          {config_of("tiny_glm4"), "glm4"},
          {changed("tiny_starcoder2", no_window), "starcoder2"},
          {config_of("tiny_stablelm"), "stablelm"},
          {config_of("tiny_stablelm_parallel"), "stablelm"},
          {config_of("tiny_gpt2"), "gpt2"},
          {config_of("tiny_gpt_neox"), "gptneox"},
          {config_of("tiny_gpt_neox_sequential"), "gptneox"},
          {changed("tiny_falcon", without_biases), "falcon"},
          {changed("tiny_falcon_grouped", without_biases), "falcon"},
          {changed("tiny_cohere", tied), "command-r"},
          {changed("tiny_cohere2", tied), "cohere2"},
          {changed("tiny_nemotron", [](ModelConfig& c) { c.head_size = 8; }), "nemotron"},
          {config_of("tiny_mixtral"), "llama"},
          {config_of("tiny_qwen3_moe"), "qwen3moe"},
          {changed("tiny_olmoe", keys_of_all), "olmoe"},
          {config_of("tiny_ministral3"), "mistral3"},
          {config_of("tiny_hunyuan"), "hunyuan-dense"},
          {changed("tiny_apertus", published_scaling), "apertus"}};
}

/// Numbers as a GGUF file holds them.
ModelConfig rounded(ModelConfig c) {
  const auto round = [](double& value) { value = static_cast<float>(value); };
  for (double* value : {&c.norm_eps, &c.rope_theta, &c.attention_softcap, &c.logit_softcap,
                        &c.embedding_scale, &c.residual_scale, &c.logit_scale})
    round(*value);
  if (c.attention_scale) round(*c.attention_scale);
  if (c.window_rope_theta) round(*c.window_rope_theta);
  if (c.query_growth) round(c.query_growth->beta);
  if (!c.rope_scaling) return c;
  round(c.rope_scaling->factor);
  round(c.rope_scaling->attention_factor);
  for (auto* factors : {&c.rope_scaling->short_factors, &c.rope_scaling->long_factors})
    std::ranges::for_each(*factors, round);
  return c;
}

void check_parameters(const Model& got, const Model& want) {
  const auto parameters = want.decoder().named_parameters(),
             read = got.decoder().named_parameters();
  CHECK(read.size() == parameters.size());
  for (const auto& parameter : parameters) {
    INFO(parameter.key());
    const Tensor* same = read.find(parameter.key());
    REQUIRE(same != nullptr);
    CHECK(bit_difference(*same, parameter.value()) == "");
  }
}

TEST_CASE("a GGUF of every family is read back to the bit, with its configuration") {
  for (const auto& [config, architecture] : written()) {
    INFO(tests::describe(config) << " as " << architecture);
    REQUIRE(gguf_obstacle(config).value_or("") == "");
    const Model model = random_model(config, 3, at::kFloat);
    const TemporaryDirectory directory;
    save_gguf(model, directory.path() / "m.gguf");
    CHECK(GgufFile(directory.path() / "m.gguf").get<std::string>("general.architecture") ==
          architecture);
    const Model again = load_model(directory.path() / "m.gguf");
    CHECK(config_json(rounded(again.config()), "float32") ==
          config_json(rounded(config), "float32"));
    check_parameters(again, model);
  }
}

TEST_CASE("a network that is a LLaMA's is written as one where its own architecture has no place") {
  const auto slice = [](ModelConfig c) { return without_shortcuts(c, 20); };
  const Change all_turn = [](ModelConfig& c) {
    no_window(c);
    c.layers = 4;
    c.rotary_layers.clear();
  };
  const std::vector<Row> rows = {
      {config_of("tiny_helium"), "llama"},
      {changed("tiny_ministral", no_window), "llama"},
      {changed("tiny_smollm3", all_turn), "llama"},
      {config_of("tiny_ernie4_5"), "llama"},
      {slice(changed("tiny_phi3_window", no_window)), "llama"},
      {slice(changed("tiny_qwen2", [](ModelConfig& c) { c.tied_head = false; })), "llama"},
      {config_of("tiny_seed_oss"), "llama"},
      {slice(changed("tiny_seed_oss", no_output_bias)), "seed_oss"},
      {slice(changed("tiny_qwen3", [](ModelConfig& c) { c.tied_head = false; })), "qwen3"},
      {slice(config_of("tiny_granite")), "granite"},
      {narrowed_config(config_of("tiny_seed_oss"), {30, 31}), "deci"},
      {narrowed_config(config_of("tiny_ernie4_5"), {30, 31}), "deci"}};
  for (const auto& [config, architecture] : rows) {
    INFO(tests::describe(config) << " as " << architecture);
    REQUIRE(gguf_obstacle(config).value_or("") == "");
    const Model model = random_model(config, 3, at::kDouble);
    const TemporaryDirectory directory;
    save_gguf(model, directory.path() / "m.gguf", {.type = GgufType::kFloat32});
    CHECK(GgufFile(directory.path() / "m.gguf").get<std::string>("general.architecture") ==
          architecture);
    const Model again = load_model(directory.path() / "m.gguf", {.dtype = at::kDouble});
    const Tensor tokens = random_tokens(config, 2, 19, 7);
    CHECK(relative_difference(again.decoder().forward(tokens), model.decoder().forward(tokens)) <
          network_allowance(config, at::kFloat));  // of weights rounded to float32
  }
}

TEST_CASE("another hidden size is written where an architecture has heads of any size") {
  const std::set<std::string> free = {"llama",    "mistral",    "qwen2",        "qwen3",
                                      "phi3",     "smollm3",    "granite",      "seed_oss",
                                      "ernie4_5", "arcee",      "mixtral",      "qwen3_moe",
                                      "apertus",  "ministral3", "hunyuan_dense"};
  for (const auto& [dense, architecture] : written()) {
    if (dense.norms_outputs()) continue;  // their hidden size stays
    INFO(tests::describe(dense));
    ModelConfig config = dense;
    config.tied_head = false;
    const bool whole = dense.family != "phi3" || !dense.rotary_size;
    CHECK(gguf_architecture(without_shortcuts(config, 20)).empty() ==
          !(free.contains(dense.family) && whole));
  }
}

TEST_CASE("what llama.cpp's network of a family does not have is refused by name") {
  const std::pair<ModelConfig, const char*> rows[] = {
      {config_of("tiny_opt"), "no opt"},
      {config_of("tiny_gptj"), "no gptj"},
      {config_of("tiny_qwen2_window"), "no sliding window in a qwen2"},
      {config_of("tiny_ministral"), "no sliding window in a ministral"},
      {config_of("tiny_exaone4"), "no sliding window in an exaone4"},
      {changed("tiny_gemma2", no_window), "wants a sliding window in a gemma2"},
      {config_of("tiny_gemma2"), "multiplies scores by"},
      {changed("tiny_gemma2",
               [](ModelConfig& c) {
                 c.attention_scale.reset();
                 c.logit_softcap = 0;
               }),
       "wants soft caps"},
      {changed("tiny_smollm3", no_window), "rotary positions in other layers of a smollm3"},
      {config_of("tiny_cohere"), "ties the head of a cohere"},
      {changed("tiny_gemma", [](ModelConfig& c) { c.tied_head = false; }), "ties the head"},
      {changed("tiny_stablelm", tied), "a head of its own in a stablelm"},
      {changed("tiny_olmo2", tied), "a head of its own in an olmo2"},
      {changed("tiny_starcoder2",
               [](ModelConfig& c) {
                 no_window(c);
                 without_biases(c);
               }),
       "wants biases in a starcoder2"},
      {config_of("tiny_falcon_grouped"), "no biases in a falcon: of q, k and v"},
      {changed("tiny_qwen3", [](ModelConfig& c) { c.qkv_bias = c.output_bias = true; }),
       "no biases in a qwen3: of attention's output"},
      {changed("tiny_falcon",
               [](ModelConfig& c) {
                 without_biases(c);
                 c.parallel_block = false;
               }),
       "no sequential blocks in a falcon"},
      {config_of("tiny_nemotron"), "in a nemotron: got heads of 12 in 32"},
      {narrowed_config(config_of("tiny_granite"), {30, 31}), "one FFN width in a granite"},
      {changed("tiny_qwen2",
               [](ModelConfig& c) {
                 c.rope_scaling = RopeScaling{.kind = RopeScaling::Kind::kYarn, .factor = 4};
               }),
       "YaRN with beta_slow 1, beta_fast 4"},
      {changed("tiny_qwen3",
               [](ModelConfig& c) {
                 c.rope_scaling = RopeScaling{.kind = RopeScaling::Kind::kDynamic, .factor = 4};
               }),
       "no such rope scaling in a qwen3"},
      {changed("tiny_phi3_long", [](ModelConfig& c) { c = without_shortcuts(c, 20); }),
       "in a phi3: got heads of 8 in 20"},
      {changed("tiny_gpt2", [](ModelConfig& c) { c.attention_scale = 1; }), "multiplies scores by"},
      {changed("tiny_qwen3_moe", [](ModelConfig& c) { c.experts.normalised = false; }),
       "llama.cpp divides the shares of experts by their sum in a qwen3_moe"},
      {changed("tiny_olmoe", [](ModelConfig& c) { c.experts.normalised = true; }),
       "llama.cpp does not divide the shares of experts by their sum in an olmoe"},
      {config_of("tiny_olmoe"), "as many key heads as query heads in an olmoe: got 2 of 4"},
      {changed("tiny_olmoe", tied), "a head of its own in an olmoe"},
      {narrowed_config(config_of("tiny_mixtral"), {12, 16}), "one FFN width in a mixtral"},
      {changed("tiny_ministral3", [](ModelConfig& c) { c.query_growth->period = 9; }),
       "lets queries of a ministral3 grow by YaRN's original context"},
      {changed("tiny_apertus", tied), "a head of its own in an apertus"}};
  for (const auto& [config, why] : rows) {
    INFO(tests::describe(config));
    CHECK_THAT(gguf_obstacle(config).value_or(""), Catch::Matchers::ContainsSubstring(why));
  }
}

TEST_CASE("every family is written as GGUF or refused by name") {
  const std::set<std::string> kWithout = {"opt", "gptj"};
  for (const models::Family* family : models::families()) {
    ModelConfig config = tiny_config();
    config.family = family->name;
    const bool without = kWithout.contains(family->name);
    INFO(family->name);
    CHECK((gguf_obstacle(config).value_or("") ==
           "libslice writes no " + family->name + " for llama.cpp") == without);
  }
}

}  // namespace
}  // namespace slice
