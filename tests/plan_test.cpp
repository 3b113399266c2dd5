#include "libslice/plan.h"

#include <catch2/catch_all.hpp>
#include <limits>

#include "libslice/error.h"
#include "tests/support/matchers.h"
#include "tests/support/published_models.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

using namespace tests;

ModelConfig smollm2_135m() {
  ModelConfig c;
  c.family = "llama";
  c.hidden_size = 576;
  c.layers = 30;
  c.heads = 9;
  c.kv_heads = 3;
  c.head_size = 64;
  c.ffn_size = 1536;
  c.vocabulary_size = 49152;
  c.tied_head = true;
  return c;
}

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
    CHECK_THROWS_NAMING(kept_size(64, slice, 8), ShapeError, "slice");
  }
  CHECK_THROWS_NAMING(kept_size(64, 0.5, 0), ShapeError, "round");
  CHECK_THROWS_NAMING(kept_size(64, 0.9, 8), ShapeError, "leaves nothing");
  CHECK_THROWS_AS(plan_stream_sizes(0, 3, {}), ShapeError);
  CHECK_THROWS_NAMING(plan_stream_sizes(64, 1, {}), ShapeError, "two sites");
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
  for (const ModelConfig& dense : configs) {
    for (const HeadMode head : {HeadMode::kKeep, HeadMode::kSlice}) {
      const int64_t sites = dense.sites();
      const auto sizes =
          plan_stream_sizes(dense.hidden_size, sites, {.slice = 0.3, .round = 1, .head = head});
      for (const ModelConfig& config : {dense, sliced_config(dense, sizes)}) {
        INFO(tests::describe(config) << (config.sliced() ? " sliced" : ""));
        ParameterCount want;
        const DecoderImpl decoder(config);
        for (const auto& parameter : decoder.named_parameters()) {
          const std::string& name = parameter.key();
          const int64_t numel = parameter.value().numel();
          want.total += numel;
          if (name.find(".layers.") == std::string::npos || parameter.value().dim() < 2) continue;
          want.blocks += numel;
          if (name.find("shortcut") != std::string::npos) want.shortcuts += numel;
        }
        const ParameterCount count = count_parameters(config);
        CHECK(count.total == want.total);
        CHECK(count.blocks == want.blocks);
        CHECK(count.shortcuts == want.shortcuts);
      }
    }
  }
}

TEST_CASE("a sliced configuration has a head of its own") {
  const ModelConfig sliced = sliced_config(smollm2_135m(), std::vector<int64_t>(61, 432));
  CHECK(sliced.sliced());
  CHECK_FALSE(sliced.tied_head);
  CHECK(sliced.stream_size(60) == 432);
}

TEST_CASE("expected costs cover the weights and grow with the calibration") {
  const ModelConfig dense = smollm2_135m();
  const std::vector<int64_t> sizes(61, 432);
  const ExpectedCost few = expected_cost(dense, sizes, 2048, 2048, 2),
                     many = expected_cost(dense, sizes, 128 * 2048, 2048, 2);
  const int64_t untied = count_parameters(dense).total + dense.vocabulary_size * dense.hidden_size;
  CHECK(few.host_bytes > 4 * untied);
  CHECK(few.disk_bytes == 2 * count_parameters(sliced_config(dense, sizes)).total);
  CHECK(many.disk_bytes == few.disk_bytes);
  CHECK(many.host_bytes - few.host_bytes == 4 * 127 * 2048 * dense.hidden_size);  // the stream
  CHECK(many.flop > few.flop);
}

}  // namespace
}  // namespace slice
