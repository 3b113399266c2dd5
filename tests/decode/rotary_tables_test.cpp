#include "libslice/decode/detail/rotary_tables.h"

#include <ATen/ATen.h>

#include <catch2/catch_all.hpp>

#include "libslice/model/rotary.h"
#include "tests/support/error_bounds.h"
#include "tests/support/matchers.h"
#include "tests/support/tiny_model.h"

namespace slice {

using at::Tensor;
using detail::RotaryTable;
using detail::RotaryTables;
using namespace tests;

namespace {

using Kind = RopeScaling::Kind;

/// A config for every way to turn.
std::vector<ModelConfig> configs() {
  std::vector<ModelConfig> all(7, tiny_config());
  all[1].rotary_size = 4;
  all[2].rotary_layers = {true, false};
  all[3].window_rope_theta = 100;
  all[3].sliding_window = 5;
  all[3].window_layers = {true, false};
  all[3].rope_scaling = RopeScaling{.kind = Kind::kLinear, .factor = 2};
  all[4].rope_scaling = RopeScaling{.kind = Kind::kYarn,
                                    .factor = 4,
                                    .low_frequency_factor = 1,
                                    .high_frequency_factor = 32,
                                    .original_context = 16,
                                    .attention_factor = 1.2};
  all[5].rope_scaling = RopeScaling{.kind = Kind::kDynamic, .factor = 2, .original_context = 16};
  all[6].rope_scaling = RopeScaling{.kind = Kind::kLongRope,
                                    .factor = 4,
                                    .original_context = 16,
                                    .attention_factor = 1.1,
                                    .short_factors = {1, 1.1, 1.2},
                                    .long_factors = {1, 2, 4}};
  return all;
}

/// x (T, h, d) turned by rows `first` … of a table, in the form of the kernels.
Tensor turned(const Tensor& x, const RotaryTable& table, int64_t first) {
  if (table.rotary_size == 0) return x;
  const int64_t half = table.rotary_size / 2, end = first + x.size(0);
  const Tensor c = table.cosine.slice(0, first, end).unsqueeze(1),  // (T, 1, r/2)
      s = table.sine.slice(0, first, end).unsqueeze(1);
  const Tensor u = x.slice(2, 0, half), v = x.slice(2, half, 2 * half);
  return at::cat({u * c - v * s, v * c + u * s, x.slice(2, 2 * half)}, 2);
}

Tensor wanted(const ModelConfig& config, int64_t layer, const Tensor& x, int64_t first) {
  const auto rotary = Rotary::of_layer(config, layer);
  return rotary ? rotary->apply(x.unsqueeze(0), first).squeeze(0) : x;
}

constexpr int64_t kPositions = 40;

}  // namespace

TEST_CASE("a row of the tables turns as the last token of a text does, in every layer") {
  for (const ModelConfig& config : configs()) {
    const RotaryTables tables(config, kPositions, at::kCPU);
    for (int64_t layer = 0; layer < config.layers; ++layer) {
      for (const int64_t p : {0, 1, 15, 16, 17, 39}) {
        INFO("layer " << layer << " position " << p);
        const Tensor x = gaussian({1, config.heads, config.head_size}, 3);
        CHECK(relative_difference(turned(x, tables.layer(layer), p), wanted(config, layer, x, p)) <
              4 * roundoff(at::kFloat));
      }
    }
  }
}

TEST_CASE("the tables of a text turn all its tokens by its length") {
  for (const ModelConfig& config : configs()) {
    const RotaryTables tables(config, kPositions, at::kCPU);
    for (const int64_t length : {1, 16, 17, 40}) {
      const RotaryTables text = tables.of_text(length);
      for (int64_t layer = 0; layer < config.layers; ++layer) {
        INFO("layer " << layer << " of " << length << " tokens");
        const Tensor x = gaussian({length, config.heads, config.head_size}, 5);
        CHECK(relative_difference(turned(x, text.layer(layer), 0), wanted(config, layer, x, 0)) <
              4 * roundoff(at::kFloat));
      }
    }
  }
}

TEST_CASE("layers that turn alike share a table") {
  const auto all = configs();
  CHECK(RotaryTables(all[0], kPositions, at::kCPU).tables().size() == 1);
  CHECK(RotaryTables(all[2], kPositions, at::kCPU).tables().size() == 2);
  const RotaryTables two(all[3], kPositions, at::kCPU);
  CHECK(two.tables().size() == 2);
  CHECK(two.number(0) != two.number(1));
}

}  // namespace slice
