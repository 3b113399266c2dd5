#include "libslice/method/plan.h"

#include <algorithm>
#include <catch2/catch_all.hpp>
#include <limits>

#include "libslice/base/error.h"
#include "libslice/model/config_json.h"
#include "tests/support/matchers.h"
#include "tests/support/published_models.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

using namespace tests;

TEST_CASE("kept sizes are rounded down to the multiple") {
  struct Row {
    int64_t D;
    double slice;
    int64_t round, k;
  };
  for (const Row& row :
       std::vector<Row>{{576, 0.25, 8, 432},
                        {576, 0.2, 8, 456},
                        {576, 0.3, 8, 400},
                        {4096, 0.2, 8, 3272},
                        {4096, 0.25, 8, 3072},
                        {4096, 0.3, 8, 2864},
                        {8192, 0.3, 8, 5728},
                        {576, 0.25, 128, 384},
                        {10, 0.2, 1, 8},      // (1 − 0.2)·10 lies an ulp from 8
                        {1000, 0.9, 1, 100},  // (1 − 0.9)·1000 lies below 100
                        {1000, 0.999, 1, 1},
                        {577, 0.0, 8, 577},  // nothing is deleted: nothing is rounded
                        {1, 0.0, 8, 1}}) {
    CAPTURE(row.D, row.slice, row.round);
    CHECK(kept_size(row.D, row.slice, row.round) == row.k);
  }
}

TEST_CASE("slices outside [0, 1), bad multiples and plans that leave nothing are refused") {
  for (const double slice : {-0.1, 1.0, 2.0, std::numeric_limits<double>::quiet_NaN()}) {
    CHECK_THROWS_NAMING(kept_size(64, slice, 8), ArgumentError, "slice");
  }
  CHECK_THROWS_NAMING(kept_size(64, 0.5, 0), ArgumentError, "round");
  CHECK_THROWS_NAMING(kept_size(64, 0.9, 8), ArgumentError, "leaves nothing");
  CHECK_THROWS_AS(plan_stream_sizes(0, 3, {}), ArgumentError);
  CHECK_THROWS_NAMING(plan_stream_sizes(64, 1, {}), ArgumentError, "two sites");
}

TEST_CASE("a plan keeps the head's site whole unless told otherwise") {
  CHECK(plan_stream_sizes(64, 5, {.slice = 0.25}) == std::vector<int64_t>{48, 48, 48, 48, 64});
  CHECK(plan_stream_sizes(64, 3, {.slice = 0.25, .head = HeadMode::kSlice}) ==
        std::vector<int64_t>{48, 48, 48});
  CHECK(plan_stream_sizes(64, 3, {.slice = 0.0, .head = HeadMode::kSlice}) ==
        std::vector<int64_t>{64, 64, 64});
}

TEST_CASE("counts of published models are exact, dense and sliced") {
  for (const PublishedModel& model : published_models()) {
    INFO(model.name);
    const ModelConfig dense = parse_config(model.config.dump(), model.name);
    CHECK(count_parameters(dense).total == model.dense);
    const double slices[] = {0.20, 0.25, 0.30};
    for (int i = 0; i < 3; ++i) {
      CAPTURE(slices[i]);
      const auto sizes = plan_stream_sizes(dense.hidden_size, dense.sites(), {.slice = slices[i]});
      CHECK(count_parameters(sliced_config(dense, sizes)).total == model.sliced[i]);
    }
  }
}

TEST_CASE("counts of known dense models are exact") {
  const ParameterCount small = count_parameters(smollm2_135m());
  CHECK(small.total == 134515008);
  CHECK(small.blocks == 106168320);
  CHECK(small.shortcuts == 0);
}

TEST_CASE("counts equal the parameters of the module, dense and sliced") {
  std::vector<ModelConfig> configs = tiny_configs();
  for (const ModelConfig& family : tiny_families()) configs.push_back(family);
  for (const ModelConfig& family : tiny_families_with_experts()) configs.push_back(family);
  for (const ModelConfig& dense : configs) {
    for (const HeadMode head : {HeadMode::kKeep, HeadMode::kSlice}) {
      const int64_t sites = dense.sites();
      const auto sizes =
          plan_stream_sizes(dense.hidden_size, sites, {.slice = 0.3, .round = 1, .head = head});
      for (const ModelConfig& config : {dense, sliced_config(dense, sizes)}) {
        INFO(tests::describe(config) << (config.sliced() ? " sliced" : ""));
        ParameterCount want;
        int64_t tables = 0;  // matrices outside the blocks
        const DecoderImpl decoder(config);
        for (const auto& parameter : decoder.named_parameters()) {
          const std::string& name = parameter.key();
          const int64_t numel = parameter.value().numel();
          want.total += numel;
          if (parameter.value().dim() < 2) continue;
          if (name.find(".layers.") == std::string::npos) {
            tables += numel;
            continue;
          }
          want.blocks += numel;
          if (name.find("shortcut") != std::string::npos) {
            want.shortcuts += numel;
          } else if (name.find("att") != std::string::npos) {  // attn, attention
            want.attention += numel;
          }
        }
        const ParameterCount count = count_parameters(config);
        CHECK(count.total == want.total);
        CHECK(count.blocks == want.blocks);
        CHECK(count.shortcuts == want.shortcuts);
        CHECK(count.attention == want.attention);
        CHECK(count.embeddings + count.head == tables);
        CHECK((count.head > 0) == (!config.tied_head || config.maps_head()));
        CHECK(count.others() == want.total - want.blocks - tables);
      }
    }
  }
}

TEST_CASE("of experts a token reads and multiplies by those that it goes through") {
  for (const ModelConfig& dense : tiny_families_with_experts()) {
    for (const ModelConfig& config :
         {dense, sliced_config(dense, std::vector<int64_t>(dense.sites(), 16))}) {
      INFO(tests::describe(config));
      ModelConfig fewer = config;  // with no other experts than a token's
      fewer.experts.count = config.experts.per_token;
      const ParameterCount count = count_parameters(config), own = count_parameters(fewer);
      const int64_t idle = config.experts.count - config.experts.per_token,
                    routers = config.layers * idle * config.stream_size(1);
      CHECK(own.idle == 0);
      CHECK(count.total - count.idle == own.total + routers);
      CHECK(count.read == own.read + routers);
      CHECK(count.multiplied == own.multiplied + routers);
    }
  }
}

TEST_CASE("experts are not trained: refused by name") {
  const ModelConfig mixtral = tiny_families_with_experts()[0];
  CHECK_THROWS_NAMING(planned_config(mixtral, {.slice = 0.3, .recover = 1}), ArgumentError,
                      "the experts of a mixtral are not trained");
}

TEST_CASE("a sliced configuration has a head of its own") {
  const ModelConfig sliced = sliced_config(smollm2_135m(), std::vector<int64_t>(61, 432));
  CHECK(sliced.sliced());
  CHECK_FALSE(sliced.tied_head);
  CHECK(sliced.stream_size(60) == 432);
}

/// What named_parameters() of the model holds.
ParameterCount parameters_of(const ModelConfig& config) {
  ParameterCount count;
  const DecoderImpl decoder(config);
  for (const auto& parameter : decoder.named_parameters()) {
    const std::string& name = parameter.key();
    const int64_t numel = parameter.value().numel();
    const bool shortcut = name.find("shortcut") != std::string::npos;
    count.total += numel;
    if (shortcut) count.shortcuts += numel;  // a diagonal's too
    const auto embeddings = decoder.adapter().embeddings;
    const bool table = std::any_of(embeddings.begin(), embeddings.end(),
                                   [&](const LinearRef& e) { return name == e.name + ".weight"; });
    const bool head = config.tied_head && name == embeddings.front().name + ".weight";
    count.read += table && !head ? parameter.value().size(1) : numel;
    if (shortcut || (parameter.value().dim() == 2 && (!table || head))) count.multiplied += numel;
    if (name.find(".layers.") != std::string::npos && (shortcut || parameter.value().dim() == 2)) {
      count.blocks += numel;
    }
  }
  return count;
}

TEST_CASE("counts equal the module's for every form of shortcut and every FFN width") {
  std::vector<ModelConfig> configs = tiny_configs();
  for (const ModelConfig& family : tiny_families()) configs.push_back(family);
  for (const ModelConfig& dense : configs) {
    std::vector<int64_t> widths;
    for (int64_t layer = 0; layer < dense.layers; ++layer) widths.push_back(dense.ffn_size - layer);
    std::vector<ModelConfig> variants = {dense, narrowed_config(dense, widths)};
    if (dense.tied_head)
      variants.push_back(planned_config(dense, {.slice = 0.3, .round = 1, .keep_tie = true}));
    for (const ShortcutForm form : {ShortcutForm::kDense, ShortcutForm::kDiagonal,
                                    ShortcutForm::kLowRank, ShortcutForm::kNone}) {
      for (const HeadMode head : {HeadMode::kKeep, HeadMode::kSlice}) {
        const ModelConfig c = planned_config(
            dense, {.slice = 0.3, .round = 1, .head = head, .shortcut = form, .shortcut_rank = 3});
        variants.push_back(c);
        variants.push_back(narrowed_config(c, widths));
      }
    }
    for (const ModelConfig& config : variants) {
      INFO(tests::describe(config) << " shortcut " << shortcut_name(config.shortcut) << " last "
                                   << config.stream_size(config.sites() - 1)
                                   << (config.ffn_sizes.empty() ? "" : " narrow"));
      const ParameterCount count = count_parameters(config), want = parameters_of(config);
      CHECK(count.total == want.total);
      CHECK(count.blocks == want.blocks);
      CHECK(count.shortcuts == want.shortcuts);
      CHECK(count.read == want.read);
      CHECK(count.multiplied == want.multiplied);
    }
  }
}

TEST_CASE("kept sizes may be given as they are") {
  CHECK(kept_size(64, SliceOptions{.slice = 0.25}) == 48);
  CHECK(kept_size(64, SliceOptions{.slice = 0.25, .kept = 37}) == 37);
  CHECK(kept_size(64, SliceOptions{.kept = 64}) == 64);
  CHECK_THROWS_NAMING(kept_size(64, SliceOptions{.kept = 65}), ArgumentError,
                      "want 1 … 64, got 65");
  CHECK_THROWS_NAMING(kept_size(64, SliceOptions{.kept = -1}), ArgumentError,
                      "want 1 … 64, got -1");
}

TEST_CASE("the paper's method always rotates, a refit only where it deletes") {
  CHECK(SliceOptions{.method = Method::kSliceGpt, .slice = 0}.rotates(64));
  CHECK(SliceOptions{.method = Method::kSliceGpt, .slice = 0.25}.rotates(64));
  CHECK(SliceOptions{.method = Method::kRefit, .slice = 0.25}.rotates(64));
  CHECK(SliceOptions{.method = Method::kRefit, .kept = 63}.rotates(64));
  CHECK_FALSE(SliceOptions{.method = Method::kRefit, .slice = 0}.rotates(64));
  CHECK_FALSE(SliceOptions{.method = Method::kRefit, .kept = 64}.rotates(64));
}

TEST_CASE("shortcuts are dense in the paper's method and absent in a refit unless told otherwise") {
  CHECK(SliceOptions{.method = Method::kSliceGpt}.shortcut_form() == ShortcutForm::kDense);
  CHECK(SliceOptions{.method = Method::kRefit}.shortcut_form() == ShortcutForm::kNone);
  CHECK(SliceOptions{.shortcut = ShortcutForm::kDiagonal}.shortcut_form() ==
        ShortcutForm::kDiagonal);
}

TEST_CASE("a planned configuration is the sliced model's") {
  const ModelConfig dense = smollm2_135m();
  const ModelConfig refit = planned_config(dense, {.slice = 0.25});
  CHECK(refit.sliced());
  CHECK(refit.shortcut == ShortcutForm::kNone);
  CHECK(refit.stream_size(0) == 432);
  CHECK(refit.stream_size(60) == 576);
  CHECK_FALSE(refit.tied_head);
  const ModelConfig paper = planned_config(dense, {.method = Method::kSliceGpt, .slice = 0});
  CHECK(paper.sliced());
  CHECK(paper.shortcut == ShortcutForm::kDense);
  const ModelConfig low = planned_config(
      dense, {.kept = 100, .shortcut = ShortcutForm::kLowRank, .shortcut_rank = 200});
  CHECK(low.shortcut_rank == 100);  // no more than the stream is wide
  const ModelConfig narrow =
      planned_config(dense, {.slice = 0, .ffn_sizes = std::vector<int64_t>(30, 848)});
  CHECK_FALSE(narrow.sliced());
  CHECK(narrow.tied_head);
  CHECK(narrow.ffn_size == 848);
  CHECK(narrow.ffn_sizes.empty());
  std::vector<int64_t> widths(30, 848);
  widths[7] = 849;
  CHECK(planned_config(dense, {.slice = 0, .ffn_sizes = widths}).ffn_sizes == widths);
  CHECK(planned_config(dense, {.slice = 0.25, .ffn_sizes = widths}).sliced());
  widths[3] = dense.ffn_size + 1;
  CHECK_THROWS_NAMING(planned_config(dense, {.ffn_sizes = widths}), ArgumentError, "in layer 3");
  widths[3] = 0;
  CHECK_THROWS_NAMING(planned_config(dense, {.ffn_sizes = widths}), ArgumentError, "in layer 3");
  CHECK_THROWS_NAMING(planned_config(dense, {.ffn_sizes = {848, 848}}), ArgumentError,
                      "want 30, one a layer, got 2");
}

TEST_CASE("options that contradict each other are refused") {
  struct Row {
    SliceOptions options;
    std::string message;
  };
  const Method paper = Method::kSliceGpt;
  for (const Row& row : std::vector<Row>{
           {{.method = paper, .shortcut = ShortcutForm::kNone}, "shortcuts are dense, not none"},
           {{.method = paper, .shortcut = ShortcutForm::kLowRank, .shortcut_rank = 3},
            "shortcuts are dense, not lowrank"},
           {{.method = paper, .ffn_sizes = {1, 2}}, "feed-forward networks"},
           {{.shortcut = ShortcutForm::kLowRank}, "shortcut rank: want at least 1, got 0"},
           {{.shortcut = ShortcutForm::kLowRank, .shortcut_rank = -2}, "got -2"},
           {{.gradient_samples = 0}, "gradient samples: want at least 1, got 0"},
           {{.method = paper, .remove = 0.2}, "method slicegpt: it has no search"},
           {{.method = paper, .remove_blocks = 0.2}, "method slicegpt: it has no search"},
           {{.method = paper, .fit_bytes = 1000}, "method slicegpt: it has no search"}}) {
    INFO(row.message);
    CHECK_THROWS_NAMING(check_options(row.options), ArgumentError, row.message);
  }
  CHECK_THROWS_NAMING(check_options({.round = 0}), ArgumentError, "round: want at least 1, got 0");
  CHECK_NOTHROW(check_options({}));
  CHECK_NOTHROW(check_options({.method = paper}));
  CHECK_NOTHROW(check_options({.method = paper, .shortcut = ShortcutForm::kDense}));
  CHECK_NOTHROW(check_options({.shortcut = ShortcutForm::kLowRank, .shortcut_rank = 1}));
  CHECK_NOTHROW(check_options({.remove = 0.2}));
}

TEST_CASE("the hidden size that a LayerNorm model is written with was one more than a round one") {
  for (const ModelConfig& dense : tiny_families()) {  // hidden size 24
    CAPTURE(tests::describe(dense));
    const bool extra = dense.family == "phi";
    const SliceOptions stock{.slice = 0.3, .head = HeadMode::kSlice};
    CHECK(mean_coordinates(dense, stock) == (extra ? 1 : 0));
    CHECK(planned_config(dense, stock).stream_size(0) == (extra ? 15 : 16));
    SliceOptions other = stock;
    other.kept = 23;  // asked for by itself
    CHECK(planned_config(dense, other).stream_size(0) == 23);
    other = stock;
    other.slice = 0;
    CHECK_FALSE(planned_config(dense, other).sliced());
    // What has no stock form rounds k.
    other = stock;
    other.head = HeadMode::kKeep;
    CHECK(planned_config(dense, other).stream_size(0) == 16);
    other = stock;
    other.shortcut = ShortcutForm::kDense;
    CHECK(planned_config(dense, other).stream_size(0) == 16);
    other = stock;
    other.ffn_sizes.assign(dense.layers, 20);
    other.ffn_sizes.back() = 19;
    CHECK(planned_config(dense, other).stream_size(0) == 16);
    other.ffn_sizes.back() = 20;
    CHECK(planned_config(dense, other).stream_size(0) == (extra ? 15 : 16));
  }
  const ModelConfig phi = tiny_families()[3];
  CHECK_THROWS_NAMING(planned_config(phi, {.slice = 0.95, .round = 1, .head = HeadMode::kSlice}),
                      ArgumentError, "leaves nothing");
}

}  // namespace
}  // namespace slice
