#include "libslice/decode/pipeline.h"

#include <ATen/ATen.h>

#include <catch2/catch_all.hpp>

#include "libslice/base/error.h"
#include "libslice/checkpoint/checkpoint.h"
#include "libslice/decode/generator.h"
#include "libslice/slicing/slice_model.h"
#include "tests/support/matchers.h"
#include "tests/support/ranks.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

using at::Tensor;
using namespace tests;

/// Feeds a text in two pieces and continues it, alone and as `ranks` ranks.
void check_same(const Model& model, int64_t ranks) {
  const TemporaryDirectory scratch;
  const std::string path = (scratch.path() / "model").string();
  save_model(model, path, {.dtype = at::kFloat});
  const Model whole = load_model(path, {.dtype = at::kDouble});
  const Tensor tokens = random_tokens(whole.config(), 2, 9, 7);
  Generator generator(whole, 24, 2);
  generator.feed(tokens.slice(1, 0, 5));
  const Tensor want = generator.feed(tokens.slice(1, 5)),  // (2, V)
      continued = generator.continue_greedy(10);           // (2, 10)
  std::vector<Tensor> logits(ranks), ids(ranks);
  std::vector<int64_t> layers(ranks), full(ranks);
  const auto thrown = run_ranks(ranks, [&](const ProcessGroup& group) {
    const auto checkpoint = open_checkpoint(path);
    Pipeline pipeline(*checkpoint, group, {.dtype = at::kDouble, .capacity = 24, .batch = 2});
    layers[group.rank()] = pipeline.layers().second - pipeline.layers().first;
    pipeline.feed(tokens.slice(1, 0, 5));
    logits[group.rank()] = pipeline.feed(tokens.slice(1, 5));
    ids[group.rank()] = pipeline.continue_greedy(10);
    try {
      pipeline.feed(tokens);  // 19 + 9 positions
    } catch (const ArgumentError&) {
      full[group.rank()] = 1;
    }
  });
  REQUIRE(thrown == std::vector<std::string>(ranks));
  int64_t all = 0;
  for (int64_t rank = 0; rank < ranks; ++rank) {
    CHECK(at::equal(logits[rank], want));
    CHECK(at::equal(ids[rank], continued));
    CHECK(layers[rank] >= 1);
    CHECK(full[rank] == 1);
    all += layers[rank];
  }
  CHECK(all == whole.config().layers);
}

TEST_CASE("two ranks write the tokens of one, for every family") {
  std::vector<ModelConfig> configs = tiny_families();
  configs.push_back(tiny_config());
  for (const ModelConfig& family : tiny_families_with_experts()) configs.push_back(family);
  for (const ModelConfig& config : configs) {
    INFO(describe(config));
    check_same(random_model(config), 2);
  }
}

TEST_CASE("two and three ranks write the tokens of a sliced model, whatever its shortcuts") {
  for (ModelConfig config : {tiny_config(), tiny_families()[2]}) {
    config.layers = 5;
    const int64_t F = config.ffn_size;
    for (const ShortcutForm form : {ShortcutForm::kNone, ShortcutForm::kDiagonal,
                                    ShortcutForm::kLowRank, ShortcutForm::kDense}) {
      INFO(describe(config) << " " << shortcut_name(form));
      Model model = random_model(config);
      slice_model(model, random_tokens(config, 9, 16),
                  {.slice = 0.3,
                   .round = 2,
                   .keep_tie = config.tied_head,
                   .shortcut = form,
                   .shortcut_rank = 3,
                   .ffn_sizes = {F, F - 8, F - 15, F - 8, F}});
      check_same(model, form == ShortcutForm::kNone ? 3 : 2);
    }
  }
}

TEST_CASE("layers are cut so that the heaviest run is as light as can be") {
  ModelConfig config = tiny_config();
  config.layers = 7;
  config.vocabulary_size = 1;  // next to no embedding and head
  CHECK(split_layers(config, 1) == std::vector<int64_t>{0, 7});
  const std::vector<int64_t> cuts = split_layers(config, 3);
  REQUIRE(cuts.size() == 4);
  for (size_t i = 0; i < 3; ++i) CHECK(cuts[i + 1] - cuts[i] <= 3);
  CHECK(split_layers(config, 7).back() == 7);
  config.vocabulary_size = 1 << 20;  // the outer runs carry far more than a layer
  CHECK(split_layers(config, 3) == std::vector<int64_t>{0, 1, 6, 7});
  CHECK_THROWS_AS(split_layers(config, 8), ArgumentError);
  CHECK_THROWS_AS(split_layers(config, 0), ArgumentError);
}

}  // namespace
}  // namespace slice
