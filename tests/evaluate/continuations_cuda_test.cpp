// Continuations packed into one row of tokens against each text alone by the modules.

#include <ATen/ATen.h>

#include <catch2/catch_all.hpp>
#include <random>

#include "libslice/base/error.h"
#include "libslice/checkpoint/model.h"
#include "libslice/decode/packed_model.h"
#include "libslice/evaluate/continuations.h"
#include "libslice/model/decoder.h"
#include "tests/support/decoding_layouts.h"
#include "tests/support/gpu_model.h"
#include "tests/support/matchers.h"
#include "tests/support/random_ids.h"
#include "tests/support/require_gpu.h"

namespace slice {
namespace {

using namespace tests;
using at::Tensor;

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

}  // namespace

TEST_CASE("on a GPU packed continuations score as the modules do in float64", "[cuda]") {
  require_gpu();
  // Σ over at most seven tokens of log-likelihoods near −5, by sums of a few hundred products.
  const std::pair<at::ScalarType, double> types[] = {
      {at::kFloat, 1e-4}, {at::kHalf, 0.05}, {at::kBFloat16, 0.4}};
  for (const auto& [name, config] : decoding_layouts()) {
    const auto groups = questions(config);
    for (const auto& [dtype, tolerance] : types) {
      CAPTURE(name, describe(config), dtype);
      const Model exact = on_gpu(config, dtype, at::kDouble), model = on_gpu(config, dtype);
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
  const Model model = on_gpu(tiny_config(), at::kFloat);
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
  const Model model = on_gpu(tiny_config(), at::kFloat);
  CHECK_THROWS_NAMING(PackedTexts().add({}), ArgumentError, "at least one token");
  ModelConfig learned = tiny_families()[1];
  for (const ModelConfig& family : tiny_families())
    if (family.learned_positions > 0) learned = family;
  const Model bounded = on_gpu(learned, at::kFloat);
  CHECK_THROWS_AS(PackedModel(bounded, bounded.decoder().positions() + 1), ArgumentError);
  CHECK_THROWS_NAMING(PackedModel(random_model(tiny_config()), 8), ArgumentError, "CUDA device");
}

}  // namespace slice
