#include "libslice/evaluate/perplexity.h"

#include <ATen/ATen.h>

#include <catch2/catch_all.hpp>
#include <cmath>

#include "libslice/base/error.h"
#include "libslice/slicing/slice_model.h"
#include "tests/support/error_bounds.h"
#include "tests/support/group_decoder.h"
#include "tests/support/matchers.h"
#include "tests/support/ranks.h"
#include "tests/support/reference.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

using at::Tensor;
using namespace tests;

/// exp of the mean −log softmax of every target, one by one.
double perplexity_reference(const Model& model, const Tensor& tokens) {
  const Weights weights = weights_of(model.decoder());
  double total = 0;
  int64_t scored = 0;
  for (int64_t i = 0; i < tokens.size(0); ++i) {
    const Tensor logits = logits_reference(model.config(), weights, tokens[i]).contiguous();
    const auto rows = logits.accessor<double, 2>();
    for (int64_t t = 0; t + 1 < tokens.size(1); ++t, ++scored) {
      double highest = rows[t][0], sum = 0;
      for (int64_t v = 0; v < logits.size(1); ++v) highest = std::max(highest, rows[t][v]);
      for (int64_t v = 0; v < logits.size(1); ++v) sum += std::exp(rows[t][v] - highest);
      total += std::log(sum) + highest - rows[t][tokens[i][t + 1].item<int64_t>()];
    }
  }
  return std::exp(total / static_cast<double>(scored));
}

TEST_CASE("perplexity equals the sum over targets, for windows longer than a piece of logits") {
  for (const ModelConfig& config : {tiny_config(), tiny_configs()[1]}) {
    const Model model = random_model(config);
    for (const int64_t T : {2, 19, 257, 300}) {  // 256 positions' logits are held together
      CAPTURE(T);
      const Tensor tokens = random_tokens(config, 2, T, 5);
      const PerplexityResult result = score_windows(model, tokens);
      CHECK(std::abs(result.perplexity / perplexity_reference(model, tokens) - 1) < kSameFunction);
      CHECK(result.tokens_scored == 2 * (T - 1));
      CHECK(perplexity(model, tokens) == result.perplexity);
    }
  }
}

TEST_CASE("processes that share the windows have the result of one, to the bit") {
  const ModelConfig config = tiny_config();
  const Model model = random_model(config);
  const Tensor windows = random_tokens(config, 5, 11), text = random_tokens(config, 1, 95)[0];
  const double alone = score_windows(model, windows).log_likelihood,
               whole = score_text(model, text, 10, 7).log_likelihood;
  for (const int64_t ranks : {2, 3, 6}) {  // the last one has no window of five
    CAPTURE(ranks);
    std::vector<double> shared(ranks), strided(ranks);
    std::vector<int64_t> scored(ranks);
    const auto thrown = run_ranks(ranks, [&](const ProcessGroup& group) {
      const PerplexityResult result = score_windows(model, windows, {}, group);
      shared[group.rank()] = result.log_likelihood;
      scored[group.rank()] = result.tokens_scored;
      strided[group.rank()] = score_text(model, text, 10, 7, {}, group).log_likelihood;
    });
    CHECK(thrown == std::vector<std::string>(ranks));
    CHECK(shared == std::vector(ranks, alone));
    CHECK(strided == std::vector(ranks, whole));
    CHECK(scored == std::vector<int64_t>(ranks, 5 * 10));
  }
}

TEST_CASE("a model that is divided among processes has the perplexity of the whole") {
  for (const ModelConfig& config : tiny_families()) {
    CAPTURE(describe(config));
    const TemporaryDirectory scratch;
    const std::string path = (scratch.path() / "model").string();
    save_model(random_model(config), path, {.dtype = at::kFloat});
    const Model whole = load_model(path, {.dtype = at::kDouble});
    const Tensor windows = random_tokens(config, 2, 11), text = random_tokens(config, 1, 40)[0];
    const double want = score_windows(whole, windows).perplexity,
                 strided = score_text(whole, text, 10, 7).perplexity;
    for (const bool pipeline : {false, true}) {
      std::vector<double> found(4);
      const auto thrown = run_ranks(2, [&](const ProcessGroup& group) {
        const auto decoder = group_decoder(path, pipeline, group);
        found[2 * group.rank()] = score_windows(*decoder, windows).perplexity / want - 1;
        found[2 * group.rank() + 1] = score_text(*decoder, text, 10, 7).perplexity / strided - 1;
      });
      REQUIRE(thrown == std::vector<std::string>(2));
      for (const double apart : found) CHECK(std::abs(apart) < kSameFunction);
    }
  }
}

TEST_CASE("a model without an opinion has the vocabulary's size as perplexity") {
  const ModelConfig config = tiny_config();
  const Model model = random_model(config, 1, at::kFloat);
  auto parameters = model.decoder().named_parameters();
  parameters["lm_head.weight"].zero_();
  // ln 53 to 4 units in the last place.
  CHECK(perplexity(model, random_tokens(config, 2, 10)) ==
        Catch::Approx(53.0).epsilon(16 * roundoff(at::kFloat)));
}

TEST_CASE("windows are scored by themselves: their order and company do not matter") {
  const ModelConfig config = tiny_config();
  const Model model = random_model(config);
  const Tensor tokens = random_tokens(config, 3, 12);
  double total = 0;
  for (int64_t i = 0; i < 3; ++i) total += std::log(perplexity(model, tokens.slice(0, i, i + 1)));
  CHECK(perplexity(model, tokens) == Catch::Approx(std::exp(total / 3)).epsilon(kSameFunction));
  CHECK(perplexity(model, tokens.flip(0)) ==
        Catch::Approx(perplexity(model, tokens)).epsilon(kSameFunction));
}

TEST_CASE("a sliced model and half precision are scored") {
  const ModelConfig config = tiny_config();
  const Tensor tokens = random_tokens(config, 2, 12);
  Model model = low_rank_model(config, 16);
  const double dense = perplexity(model, tokens);
  slice_model(model, random_tokens(config, 4, 16), {.method = Method::kSliceGpt, .slice = 0.25});
  CHECK(perplexity(model, tokens) == Catch::Approx(dense).epsilon(kSameFunction));
  model.decoder().to(at::kBFloat16);
  CHECK(perplexity(model, tokens) ==
        Catch::Approx(dense).epsilon(2 * network_allowance(config, at::kBFloat16)));
}

TEST_CASE(
    "a whole text scores every token but the first once, with the context that strides leave") {
  const ModelConfig config = tiny_config();
  const Model model = random_model(config);
  for (const int64_t n : {2, 9, 30, 31, 33})
    for (const auto& [context, stride] : {std::pair<int64_t, int64_t>{10, 10}, {10, 4}, {10, 1}}) {
      CAPTURE(n, context, stride);
      const Tensor tokens = random_tokens(config, 1, n)[0];
      double total = 0;
      for (int64_t scored = 0; scored < n - 1;) {  // the windows, written another way
        const int64_t end = std::min(n - 1, scored == 0 ? context : scored + stride);
        const int64_t begin = std::max<int64_t>(0, end - context);
        const Tensor p =
            model.decoder().forward(tokens.slice(0, begin, end).unsqueeze(0)).log_softmax(2)[0];
        for (; scored < end; ++scored)
          total += p[scored - begin][tokens[scored + 1].item<int64_t>()].item<double>();
      }
      int64_t windows = 0;
      const PerplexityResult result =
          score_text(model, tokens, context, stride, [&](const Progress& progress) {
            CHECK(progress.step == ++windows);
            windows = progress.steps == windows ? -1 : windows;
          });
      CHECK(windows == -1);  // the last step was the last one announced
      CHECK(result.tokens_scored == n - 1);
      CHECK(result.log_likelihood == Catch::Approx(total).epsilon(kSameFunction));
      CHECK(result.perplexity ==
            Catch::Approx(std::exp(-total / double(n - 1))).epsilon(kSameFunction));
    }
  CHECK_THROWS_AS(score_text(model, random_tokens(config, 1, 9)[0], 4, 5), ArgumentError);
  CHECK_THROWS_AS(score_text(model, random_tokens(config, 1, 9)[0], 4, 0), ArgumentError);
  CHECK_THROWS_AS(score_text(model, random_tokens(config, 1, 9), 4, 4), ShapeError);
}

TEST_CASE("windows too short, no windows, foreign ids and infinite results are refused") {
  const ModelConfig config = tiny_config();
  const Model model = random_model(config);
  CHECK_THROWS_NAMING(perplexity(model, random_tokens(config, 2, 1)), ShapeError, "(2, 1)");
  CHECK_THROWS_AS(perplexity(model, at::zeros({0, 5}, at::kLong)), ShapeError);
  CHECK_THROWS_AS(perplexity(model, at::zeros({5}, at::kLong)), ShapeError);
  CHECK_THROWS_NAMING(perplexity(model, at::full({1, 5}, 53, at::kLong)), ArgumentError, "[0, 53)");
  CHECK_THROWS_NAMING(perplexity(model, at::zeros({1, 5})), ShapeError, "float32");
  auto parameters = model.decoder().named_parameters();
  parameters["lm_head.weight"].mul_(1e308).mul_(1e10);
  CHECK_THROWS_NAMING(perplexity(model, random_tokens(config, 1, 5)), NumericError, "perplexity");
}

}  // namespace
}  // namespace slice
