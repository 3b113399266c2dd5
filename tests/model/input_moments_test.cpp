#include "libslice/model/input_moments.h"

#include <ATen/ATen.h>

#include <catch2/catch_all.hpp>
#include <functional>
#include <limits>
#include <set>

#include "libslice/base/error.h"
#include "libslice/model/decoder.h"
#include "tests/support/error_bounds.h"
#include "tests/support/matchers.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

using at::Tensor;
using namespace tests;

constexpr int64_t kWindows = 3, kTokens = 13;

/// Σ x² of rows (n, in), number by number.
Tensor squares_of(const Tensor& x) {
  const Tensor rows = x.reshape({-1, x.size(-1)}).contiguous();
  Tensor sums = at::zeros({rows.size(1)}, at::kDouble);
  const auto from = rows.accessor<double, 2>();
  auto to = sums.accessor<double, 1>();
  for (int64_t i = 0; i < rows.size(0); ++i)
    for (int64_t j = 0; j < rows.size(1); ++j) to[j] += from[i][j] * from[i][j];
  return sums;
}

void check_moment(const InputMoments& moments, const std::string& name, const Tensor& read) {
  INFO(name);
  const InputMoment& moment = moments.at(name);
  CHECK(moment.tokens == read.numel() / read.size(-1));
  CHECK(moment.squares.scalar_type() == at::kDouble);
  CHECK(relative_difference(moment.squares, squares_of(read)) < kSameFunction);
}

TEST_CASE("input moments are the squares of what readers and writers read, in every family") {
  std::vector<ModelConfig> configs = tiny_configs();
  for (const auto& more : {tiny_families(), tiny_families_with_output_norms()})
    configs.insert(configs.end(), more.begin(), more.end());
  for (const ModelConfig& config : configs) {
    INFO(describe(config));
    const auto decoder = random_decoder(config, 3);
    const ModelAdapter adapter = decoder->adapter();
    const Tensor tokens = random_tokens(config, kWindows, kTokens);
    const InputMoments moments = input_moments(adapter, tokens);
    size_t layers = 0;
    const at::NoGradGuard no_grad;
    Tensor x = decoder->embed(tokens, 0);  // (N, T, D), of all windows together
    for (const Sublayer& s : adapter.sublayers) {
      for (const Branch& branch : s.branches) {
        const Tensor normed = s.norm_of(branch)->forward(x);
        for (const LinearRef& reader : branch.readers) check_moment(moments, reader.name, normed);
        check_moment(moments, branch.writer.name, branch.hidden(normed, nullptr));
        layers += branch.readers.size() + 1;
      }
      x = s.forward(x);
    }
    CHECK(moments.size() == layers);
  }
}

TEST_CASE("an expert's moments are those of the tokens that go through it") {
  for (const ModelConfig& config : tiny_families_with_experts()) {
    INFO(describe(config));
    const auto decoder = random_decoder(config, 3);
    const ModelAdapter adapter = decoder->adapter();
    const Tensor tokens = random_tokens(config, kWindows, kTokens);
    const InputMoments moments = input_moments(adapter, tokens);
    const at::NoGradGuard no_grad;
    const Tensor x = adapter.sublayers[0].forward(decoder->embed(tokens, 0));
    const Sublayer& s = adapter.sublayers[1];
    const Branch& branch = s.branches[0];
    const Tensor n = s.norm->forward(x).flatten(0, 1);         // (N·T, D)
    const Tensor logits = n.mm(branch.readers[0].weight.t());  // (N·T, E)
    check_moment(moments, branch.readers[0].name, n);
    const auto chosen = std::get<1>(logits.topk(config.experts.per_token, 1));  // (N·T, c)
    for (int64_t e = 0; e < config.experts.count; ++e) {
      const ExpertRef& expert = branch.experts[e];
      const Tensor own = n.index_select(0, chosen.eq(e).any(1).nonzero().squeeze(1));  // (m, D)
      REQUIRE(own.size(0) > 0);
      for (const LinearRef& reader : expert.readers) check_moment(moments, reader.name, own);
      const Tensor gate = own.mm(expert.readers[0].weight.t()),
                   up = own.mm(expert.readers[1].weight.t());
      check_moment(moments, expert.writer.name, gate * at::sigmoid(gate) * up);
    }
  }
}

TEST_CASE("input moments of no tokens are refused, and a NaN is named") {
  const auto decoder = random_decoder(tiny_config(), 3);
  CHECK_THROWS_NAMING(input_moments(decoder->adapter(), at::zeros({0, 4}, at::kLong)), ShapeError,
                      "tokens: want (N, T)");
  const Tensor weight = decoder->named_parameters()["model.layers.1.mlp.up_proj.weight"];
  weight.fill_(std::numeric_limits<double>::quiet_NaN());
  CHECK_THROWS_NAMING(input_moments(decoder->adapter(), random_tokens(tiny_config(), 1, 4)),
                      NumericError, "model.layers.1.mlp.down_proj: a NaN");
}

}  // namespace
}  // namespace slice
