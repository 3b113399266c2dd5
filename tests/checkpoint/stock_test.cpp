#include "libslice/checkpoint/stock.h"

#include <ATen/ATen.h>

#include <catch2/catch_all.hpp>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "libslice/base/detail/file.h"
#include "libslice/checkpoint/model.h"
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

Tensor logits(const DecoderImpl& decoder, const Tensor& tokens) { return decoder.forward(tokens); }

/// The dense model that the written weights make, in float64.
std::shared_ptr<DecoderImpl> written(const DecoderImpl& decoder, const ModelConfig& form) {
  const WrittenWeights weights(decoder, form);
  auto dense = std::make_shared<DecoderImpl>(form);
  for (auto& parameter : dense->named_parameters()) {
    const Tensor value = weights.read(parameter.key());
    REQUIRE(value.sizes() == parameter.value().sizes());
    parameter.value().set_data(value.to(at::kDouble));
  }
  return dense;
}

/// Those that have a stock form whose hidden size is another one.
std::vector<ModelConfig> free_heads() {
  std::vector<ModelConfig> all = tiny_configs();
  for (const ModelConfig& config : tiny_families())
    if (config.norm == NormKind::kRms || config.family == "phi") all.push_back(config);
  for (const ModelConfig& config : tiny_families_with_experts())
    if (config.family != "olmoe") all.push_back(config);
  ModelConfig qwen3 = tiny_config();  // whose heads have norms with the eps of the others
  qwen3.family = "qwen3";
  qwen3.head_norm = HeadNorm::kEach;
  qwen3.qkv_bias = qwen3.output_bias = true;
  all.push_back(qwen3);
  return all;
}

nlohmann::json config_of(const fs::path& directory) {
  return nlohmann::json::parse(detail::read_text_file(directory / "config.json"));
}

TEST_CASE("a model without shortcuts is a dense model of another hidden size") {
  for (const ModelConfig& config : free_heads()) {
    for (const int64_t k : {config.hidden_size, config.hidden_size - 1, int64_t{16}, int64_t{1}}) {
      INFO(tests::describe(config) << " k " << k);
      const ModelConfig sliced = without_shortcuts(config, k);
      const auto decoder = random_decoder(sliced, 3);
      const auto dense = dense_config(sliced);
      REQUIRE(dense);
      CHECK_FALSE(dense->sliced());
      CHECK(dense->hidden_size == (config.norm == NormKind::kLayer ? k + 1 : k));
      CHECK(dense->head_size == config.head_size);
      const Tensor tokens = random_tokens(config, 2, 19, 7);
      CHECK(relative_difference(logits(*written(*decoder, *dense), tokens),
                                logits(*decoder, tokens)) < network_allowance(config, at::kDouble));
    }
  }
}

TEST_CASE("every part of the dense form matters: scale, eps and the zero-mean subspace") {
  for (const ModelConfig& config : {tiny_config(), tiny_families()[3]}) {
    const ModelConfig sliced = without_shortcuts(config, 12);
    const auto decoder = random_decoder(sliced, 3);
    ModelConfig other = *dense_config(sliced);
    other.norm_eps *= 1000;
    const Tensor tokens = random_tokens(config, 2, 19, 7);
    CHECK(relative_difference(logits(*written(*decoder, other), tokens), logits(*decoder, tokens)) >
          1e-8);
    const auto dense = written(*decoder, *dense_config(sliced));
    const Tensor stream = dense->stream(tokens);
    if (config.norm == NormKind::kLayer)
      CHECK(stream.mean(-1).abs().max().item<double>() < network_allowance(config, at::kDouble));
  }
}

TEST_CASE("a stock form is saved as a dense model and loaded as one") {
  for (const ModelConfig& config : free_heads()) {
    for (const int64_t k : {int64_t{16}, int64_t{15}}) {
      INFO(tests::describe(config) << " k " << k);
      const ModelConfig sliced = without_shortcuts(config, k);
      const auto stock = stock_config(sliced);
      const bool biased = config.family == "llama" && (config.qkv_bias || config.mlp_bias);
      const bool llama_takes_it = config.family != "llama" || k == 16;
      REQUIRE(stock.has_value() == (llama_takes_it || !biased));
      if (!stock) continue;
      CHECK(stock->family == (llama_takes_it ? config.family : "mistral"));
      const Model model = random_model(sliced);
      const TemporaryDirectory directory;
      save_model(model, directory.path() / "m", {.dtype = at::kFloat});
      CHECK_FALSE(fs::exists(directory.path() / ("m/modeling_sliced_" + config.family + ".py")));
      const auto json = config_of(directory.path() / "m");
      CHECK(json["model_type"] == stock->family);
      CHECK(json["head_dim"] == config.head_size);
      CHECK_FALSE(json.contains("auto_map"));
      CHECK_FALSE(json.contains("stream_sizes"));
      if (stock->family == "mistral" && config.family == "llama")
        CHECK(json["sliding_window"].is_null());
      const Model again = load_model(directory.path() / "m", {.dtype = at::kDouble});
      CHECK_FALSE(again.config().sliced());
      CHECK(again.config().hidden_size == stock->hidden_size);
      CHECK(again.config().norm_eps == stock->norm_eps);
      for (const auto& parameter : again.decoder().named_parameters())
        if (parameter.key().find("norm") != std::string::npos &&
            parameter.key().find("self_attn") == std::string::npos)  // no norm of heads
          CHECK(parameter.value().eq(parameter.key().ends_with("bias") ? 0 : 1).all().item<bool>());
      const Tensor tokens = random_tokens(config, 2, 19, 7);
      CHECK(relative_difference(logits(again.decoder(), tokens), logits(model.decoder(), tokens)) <
            network_allowance(config, at::kFloat));  // of weights rounded to float32
    }
  }
}

TEST_CASE("what the other families keep in config.json or in code survives another hidden size") {
  for (const char* name :
       {"tiny_qwen3", "tiny_phi3_window", "tiny_phi3_long", "tiny_smollm3", "tiny_granite",
        "tiny_gemma", "tiny_seed_oss", "tiny_arcee", "tiny_ernie4_5", "tiny_helium",
        "tiny_ministral", "tiny_mistral_yarn", "tiny_ministral3", "tiny_hunyuan", "tiny_apertus"}) {
    ModelConfig config = read_config(tests::data_directory() / name);
    config.tied_head = false;
    for (const int64_t k : {int64_t{24}, int64_t{20}}) {
      INFO(name << " k " << k);
      const ModelConfig sliced = without_shortcuts(config, k);
      const auto stock = stock_config(sliced);
      if (!stock) continue;
      const Model model = random_model(sliced);
      const TemporaryDirectory directory;
      save_model(model, directory.path() / "m", {.dtype = at::kFloat});
      const Model again = load_model(directory.path() / "m", {.dtype = at::kDouble});
      CHECK_FALSE(again.config().sliced());
      CHECK(again.config().hidden_size == k);
      const Tensor tokens = random_tokens(config, 2, 19, 7);
      CHECK(relative_difference(logits(again.decoder(), tokens), logits(model.decoder(), tokens)) <
            network_allowance(config, at::kFloat));
    }
  }
}

TEST_CASE("fewer FFN channels alone are stock for every family and keep the tie") {
  for (ModelConfig config : tiny_families()) {
    INFO(tests::describe(config));
    config.tied_head = config.family != "phi";
    config = narrowed_config(config, std::vector<int64_t>(config.layers, 30));
    REQUIRE(stock_config(config));
    CHECK(stock_config(config)->ffn_size == 30);
    const Model model = random_model(config, 1, at::kFloat);
    const TemporaryDirectory directory;
    save_model(model, directory.path() / "m");
    CHECK(config_of(directory.path() / "m")["model_type"] == config.family);
    const Model again = load_model(directory.path() / "m");
    CHECK(again.config().tied_head == config.tied_head);
    const Tensor tokens = random_tokens(config, 2, 19, 7);
    CHECK(bit_difference(logits(again.decoder(), tokens), logits(model.decoder(), tokens)) == "");
  }
}

TEST_CASE("what is not stock is saved with the code that runs it, and read back bit by bit") {
  std::vector<ModelConfig> configs = tiny_families();
  configs.push_back(tiny_config());
  for (const ModelConfig& config : configs) {
    for (const auto& [name, sliced] : custom_layouts(config)) {
      INFO(tests::describe(config) << " " << name);
      CHECK_FALSE(stock_config(sliced));
      const Model model = random_model(sliced, 1, at::kFloat);
      const TemporaryDirectory directory;
      save_model(model, directory.path() / "m");
      const std::string module = "modeling_sliced_" + config.family;
      const std::string python = detail::read_text_file(directory.path() / "m" / (module + ".py"));
      const auto json = config_of(directory.path() / "m");
      for (const char* key : {"AutoConfig", "AutoModelForCausalLM"}) {
        const auto reference = json["auto_map"][key].get<std::string>();
        REQUIRE(reference.starts_with(module + "."));
        const bool written =
            python.find("class " + reference.substr(module.size() + 1) + "(") != std::string::npos;
        CHECK((written || python.find("define(\"" + config.family + "\"") != std::string::npos));
      }
      const Model again = load_model(directory.path() / "m");
      CHECK(again.config().shortcut == sliced.shortcut);
      CHECK(again.config().ffn_sizes == sliced.ffn_sizes);
      const Tensor tokens = random_tokens(config, 2, 19, 7);
      CHECK(bit_difference(logits(again.decoder(), tokens), logits(model.decoder(), tokens)) == "");
    }
  }
}

TEST_CASE("no shortcut and every site sliced is stock but for OPT and FFN widths that differ") {
  const ModelConfig opt = tiny_families()[2];
  CHECK_FALSE(dense_config(without_shortcuts(opt, 16)));
  CHECK_FALSE(stock_config(without_shortcuts(opt, 16)));
  const ModelConfig uneven = narrowed_config(without_shortcuts(tiny_config(), 16), {20, 38});
  REQUIRE(dense_config(uneven));
  CHECK(dense_config(uneven)->ffn_sizes == std::vector<int64_t>{20, 38});
  CHECK_FALSE(stock_config(uneven));
  CHECK(stock_config(tiny_config())->hidden_size == 24);
}

}  // namespace
}  // namespace slice
