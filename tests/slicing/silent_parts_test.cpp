// Models with parts that write nothing, and calibration that excites little.

#include <ATen/ATen.h>

#include <algorithm>
#include <catch2/catch_all.hpp>
#include <functional>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "libslice/base/error.h"
#include "libslice/model/decoder.h"
#include "libslice/slicing/detail/refit_model.h"
#include "libslice/slicing/slice_model.h"
#include "tests/support/matchers.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

using at::Tensor;
using namespace tests;

/// What pruning tools and fresh fine-tunes leave in a model, by name.
std::map<std::string, std::function<void(DecoderImpl&)>> emptied_parts() {
  const auto zero = [](DecoderImpl& decoder, const std::vector<std::string>& ends) {
    for (auto& parameter : decoder.named_parameters()) {
      const bool hit = std::any_of(ends.begin(), ends.end(), [&](const std::string& end) {
        return parameter.key().ends_with(end);
      });
      if (hit) parameter.value().detach().zero_();
    }
  };
  return {
      {"attention that writes nothing",
       [=](auto& d) { zero(d, {"layers.1.self_attn.o_proj.weight"}); }},
      {"attention without values", [=](auto& d) { zero(d, {"1.self_attn.v_proj.weight"}); }},
      {"a network that writes nothing",
       [=](auto& d) {
         zero(d, {"1.mlp.down_proj.weight", "0.mlp.down_proj.weight"});
       }},
      {"a gate that never opens", [=](auto& d) { zero(d, {"1.mlp.gate_proj.weight"}); }},
      {"an empty layer",
       [=](auto& d) {
         zero(d, {"1.self_attn.o_proj.weight", "1.mlp.down_proj.weight", "1.mlp.gate_proj.weight"});
       }},
      {"nothing but the embedding",
       [=](auto& d) {
         zero(d, {"o_proj.weight", "down_proj.weight", "up_proj.weight"});
       }},
      {"a norm of zeros", [=](auto& d) { zero(d, {"1.input_layernorm.weight"}); }},
      {"a norm of zeros before the head", [=](auto& d) { zero(d, {"model.norm.weight"}); }},
      {"a head of zeros", [=](auto& d) { zero(d, {"lm_head.weight"}); }},
      {"dead coordinates",
       [](auto& d) {
         d.named_parameters()["model.embed_tokens.weight"].detach().slice(1, 0, 5).zero_();
       }},
      {"equal embeddings", [](auto& d) {
         const Tensor rows = d.named_parameters()["model.embed_tokens.weight"].detach();
         rows.copy_(rows[0].clone().expand_as(rows));
       }}};
}

TEST_CASE("parts that write nothing are sliced like others, by both methods") {
  const ModelConfig config = tiny_config();
  std::vector<SliceOptions> ways;
  ways.push_back({.method = Method::kSliceGpt, .slice = 0.3, .round = 2});
  ways.push_back({.slice = 0.3, .round = 2});
  ways.push_back({.slice = 0.3,
                  .round = 2,
                  .shortcut = ShortcutForm::kLowRank,
                  .shortcut_rank = 2,
                  .ffn_sizes = std::vector<int64_t>(config.layers, config.ffn_size / 2)});
  ways.push_back({.slice = 0, .ffn_sizes = std::vector<int64_t>(config.layers, 1)});
  ways.push_back({.round = 2, .remove_blocks = 0.3});
  const Tensor text = random_tokens(config, 9, 16);
  const Tensor one_word = at::full({9, 16}, 3, at::kLong);
  for (const auto& [what, empty] : emptied_parts()) {
    for (size_t way = 0; way < ways.size(); ++way) {
      for (const Tensor& tokens : {text, one_word}) {
        CAPTURE(what, way, tokens.is_same(text));
        Model model = random_model(config, 1, at::kFloat);
        empty(model.decoder());
        REQUIRE_NOTHROW(slice_model(model, tokens, ways[way]));
        const at::NoGradGuard no_grad;
        for (const auto& parameter : model.decoder().named_parameters()) {
          CAPTURE(parameter.key());
          CHECK(parameter.value().isfinite().all().item<bool>());
        }
        CHECK(model.decoder().forward(random_tokens(config, 1, 8)).isfinite().all().item<bool>());
      }
    }
  }
}

TEST_CASE("a refit that cannot end names the part of the model where it stopped") {
  const ModelConfig config = tiny_config();
  const Model model = random_model(config);
  ModelAdapter adapter = model.decoder().adapter();
  std::vector<Tensor> gammas(2 * config.layers + 1, at::eye(config.hidden_size, at::kDouble));
  gammas[3] = gammas[3] * std::numeric_limits<double>::quiet_NaN();
  CHECK_THROWS_NAMING(
      refit_model(adapter, random_tokens(config, 9, 16), {.slice = 0.3, .round = 2}, {}, gammas),
      NumericError, "model.layers.1.mlp");
}

}  // namespace
}  // namespace slice
