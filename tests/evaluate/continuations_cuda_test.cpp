// Continuations packed into one row of tokens against each text alone by the modules.

#include <ATen/ATen.h>

#include <catch2/catch_all.hpp>
#include <random>

#include "libslice/base/error.h"
#include "libslice/checkpoint/model.h"
#include "libslice/decode/packed_model.h"
#include "libslice/evaluate/continuations.h"
#include "libslice/model/decoder.h"
#include "tests/support/matchers.h"
#include "tests/support/require_gpu.h"
#include "tests/support/sliced_layouts.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

using namespace tests;
using at::Tensor;

std::vector<int64_t> random_ids(std::mt19937& random, int64_t count, int64_t vocabulary) {
  std::vector<int64_t> ids(static_cast<size_t>(count));
  for (int64_t& id : ids) id = static_cast<int64_t>(random() % static_cast<uint64_t>(vocabulary));
  return ids;
}

/// Questions with and without a common beginning, of one choice and of many, down to one token.
std::vector<std::vector<Continuation>> questions(const ModelConfig& config) {
  std::mt19937 random(7);
  const auto ids = [&](int64_t count) { return random_ids(random, count, config.vocabulary_size); };
  std::vector<std::vector<Continuation>> groups(1);  // and one without any
  for (const int64_t context : {1, 2, 9, 23, 33}) {
    std::vector<Continuation>& group = groups.emplace_back();
    const std::vector<int64_t> begin = ids(context);
    for (const int64_t length : {1, 4, 2, 7}) group.push_back({begin, ids(length)});
    groups.push_back({{begin, ids(3)}});
    groups.push_back({{ids(2), ids(5)}, {ids(5), ids(1)}});
  }
  return groups;
}

std::vector<std::pair<std::string, ModelConfig>> layouts() {
  std::vector<ModelConfig> dense = tiny_configs();
  for (const ModelConfig& family : tiny_families()) dense.push_back(family);
  ModelConfig aligned = tiny_config();
  aligned.hidden_size = 64;
  aligned.head_size = 16;
  aligned.ffn_size = 96;
  dense.push_back(aligned);
  ModelConfig windowed = aligned;
  windowed.family = "mistral";
  windowed.sliding_window = 7;
  dense.push_back(windowed);
  std::vector<std::pair<std::string, ModelConfig>> all;
  for (const ModelConfig& config : dense) {
    all.emplace_back("unsliced", config);
    if (config.hidden_size < 20) continue;
    for (auto& layout : custom_layouts(config)) all.push_back(std::move(layout));
  }
  return all;
}

/// A model on the GPU whose weights were rounded to `rounded`, computing in `dtype`.
Model on_gpu(const ModelConfig& config, at::ScalarType rounded, at::ScalarType dtype) {
  Model model = random_model(config);
  for (auto& parameter : model.decoder().named_parameters())
    parameter.value().set_data(parameter.value().to(rounded).to(at::kCUDA, dtype));
  return model;
}

}  // namespace

TEST_CASE("on a GPU packed continuations score as the modules do in float64", "[cuda]") {
  require_gpu();
  // Σ over at most seven tokens of log-likelihoods near −5, by sums of a few hundred products.
  const std::pair<at::ScalarType, double> types[] = {
      {at::kFloat, 1e-4}, {at::kHalf, 0.05}, {at::kBFloat16, 0.4}};
  for (const auto& [name, config] : layouts()) {
    const auto groups = questions(config);
    for (const auto& [dtype, tolerance] : types) {
      CAPTURE(name, describe(config), dtype);
      const Model exact = on_gpu(config, dtype, at::kDouble), model = on_gpu(config, dtype, dtype);
      REQUIRE(!PackedModel::runs(exact));
      REQUIRE(PackedModel::runs(model));
      const auto wanted = score_continuations(exact, groups),
                 scores = score_continuations(model, groups);
      REQUIRE(scores.size() == groups.size());
      for (size_t i = 0; i < groups.size(); ++i) {
        REQUIRE(scores[i].size() == groups[i].size());
        for (size_t j = 0; j < groups[i].size(); ++j) {
          CAPTURE(i, j);
          CHECK(std::abs(scores[i][j].log_likelihood - wanted[i][j].log_likelihood) < tolerance);
        }
      }
    }
  }
}

TEST_CASE("on a GPU what is packed with a text does not change it", "[cuda]") {
  require_gpu();
  const Model model = on_gpu(tiny_config(), at::kFloat, at::kFloat);
  const auto groups = questions(model.config());
  const auto together = score_continuations(model, groups);
  for (size_t i = 0; i < groups.size(); ++i) {
    const std::vector<std::vector<Continuation>> one = {groups[i]};
    const auto alone = score_continuations(model, one);
    for (size_t j = 0; j < groups[i].size(); ++j)
      CHECK(std::abs(alone[0][j].log_likelihood - together[i][j].log_likelihood) < 1e-4);
  }
}

TEST_CASE("on a GPU packed texts are refused where there is nothing to run", "[cuda]") {
  require_gpu();
  const Model model = on_gpu(tiny_config(), at::kFloat, at::kFloat);
  CHECK_THROWS_NAMING(PackedTexts().add({}), ArgumentError, "at least one token");
  ModelConfig learned = tiny_families()[1];
  for (const ModelConfig& family : tiny_families())
    if (family.learned_positions > 0) learned = family;
  const Model bounded = on_gpu(learned, at::kFloat, at::kFloat);
  CHECK_THROWS_AS(PackedModel(bounded, bounded.decoder().positions() + 1), ArgumentError);
  CHECK_THROWS_NAMING(PackedModel(random_model(tiny_config()), 8), ArgumentError, "CUDA device");
}

}  // namespace slice
