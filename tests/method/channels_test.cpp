#include "libslice/method/channels.h"

#include <ATen/ATen.h>

#include <catch2/catch_all.hpp>
#include <limits>

#include "libslice/base/error.h"
#include "tests/support/error_bounds.h"
#include "tests/support/matchers.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

using at::Tensor;
using namespace tests;

constexpr double kRidge = 1e-10;

Tensor covariance_of(const Tensor& h) { return h.t().mm(h); }

std::vector<int64_t> as_vector(const Tensor& ids) {
  return {ids.const_data_ptr<int64_t>(), ids.const_data_ptr<int64_t>() + ids.numel()};
}

std::vector<int64_t> all_but(int64_t F, int64_t gone) {
  std::vector<int64_t> kept;
  for (int64_t i = 0; i < F; ++i) {
    if (i != gone) kept.push_back(i);
  }
  return kept;
}

TEST_CASE("a network that keeps all of its channels keeps them in order") {
  const Tensor kept =
      keep_channels(covariance_of(gaussian({50, 9}, 1)), gaussian({4, 9}, 2), {}, 9, kRidge);
  CHECK(as_vector(kept) == std::vector<int64_t>{0, 1, 2, 3, 4, 5, 6, 7, 8});
}

TEST_CASE("the channel that goes is the one whose loss least squares cannot repair") {
  const int64_t F = 6, D = 4;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    const Tensor h = gaussian({40, F}, 10 * seed).mm(gaussian({F, F}, 10 * seed + 1)),
                 W = gaussian({D, F}, 10 * seed + 2),
                 gamma = covariance_of(gaussian({9, D}, 10 * seed + 3));
    for (const bool weighted : {true, false}) {
      const Tensor metric = weighted ? gamma : at::eye(D, at::kDouble);
      int64_t cheapest = -1;
      double least = std::numeric_limits<double>::infinity();
      for (int64_t gone = 0; gone < F; ++gone) {
        const Tensor rest = h.index_select(1, at::tensor(all_but(F, gone), at::kLong));
        const Tensor y = h.mm(W.t());  // (n, D), what is to be written
        const Tensor repaired = std::get<0>(at::linalg_lstsq(rest, y));
        const Tensor error = y - rest.mm(repaired);
        const double loss = (error.mm(metric) * error).sum().item<double>();
        if (loss < least) {
          least = loss;
          cheapest = gone;
        }
      }
      const Tensor kept =
          keep_channels(covariance_of(h), W, weighted ? gamma : Tensor(), F - 1, kRidge);
      CHECK(as_vector(kept) == all_but(F, cheapest));
    }
  }
}

TEST_CASE("a channel that another one repeats goes before one of its own") {
  Tensor h = gaussian({60, 7}, 1);
  h.select(1, 5).copy_(h.select(1, 2) * 3);
  const Tensor kept = keep_channels(covariance_of(h), gaussian({5, 7}, 2), {}, 6, 1e-8);
  const auto ids = as_vector(kept);
  CHECK((ids == all_but(7, 2) || ids == all_but(7, 5)));
}

TEST_CASE("of channels in pairs one of each pair stays") {
  const int64_t pairs = 10;
  const Tensor half = gaussian({80, pairs}, 1), h = at::cat({half, -2 * half}, 1);
  const Tensor gamma = covariance_of(gaussian({9, 5}, 3));
  const Tensor kept =
      keep_channels(covariance_of(h), gaussian({5, 2 * pairs}, 2), gamma, pairs, 1e-8);
  const Tensor of_pair = std::get<0>((kept % pairs).sort());
  CHECK(bit_difference(of_pair, at::arange(pairs)) == "");
}

TEST_CASE("channels go first that write nothing, or nothing that is felt") {
  const Tensor A = covariance_of(gaussian({60, 7}, 1));
  Tensor silent = gaussian({5, 7}, 2);
  silent.select(1, 3).zero_();
  CHECK(as_vector(keep_channels(A, silent, {}, 6, kRidge)) == all_but(7, 3));
  Tensor unfelt = gaussian({5, 7}, 2);
  unfelt.select(1, 4).copy_(at::tensor({0.0, 0.0, 1e3, 0.0, 0.0}, at::kDouble));
  const Tensor gamma = at::diag(at::tensor({1.0, 1.0, 0.0, 1.0, 1.0}, at::kDouble));
  CHECK(as_vector(keep_channels(A, unfelt, gamma, 6, kRidge)) == all_but(7, 4));
}

TEST_CASE(
    "of channels that are all silent, or of which none is felt, as many stay as are asked for") {
  const Tensor A = covariance_of(gaussian({60, 7}, 1)), W = gaussian({5, 7}, 2);
  const Tensor no_A = at::zeros_like(A), no_W = at::zeros_like(W);
  const Tensor unfelt = at::zeros({5, 5}, at::kDouble);
  for (const int64_t keep : {1, 3, 6}) {
    CHECK(keep_channels(no_A, W, {}, keep, kRidge).size(0) == keep);
    CHECK(keep_channels(A, no_W, {}, keep, kRidge).size(0) == keep);
    CHECK(keep_channels(A, W, unfelt, keep, kRidge).size(0) == keep);
  }
  Tensor one = at::zeros_like(A);  // of seven channels only the fifth ever speaks
  one[4][4] = 1;
  CHECK(as_vector(keep_channels(one, W, {}, 1, kRidge)) == std::vector<int64_t>{4});
}

TEST_CASE("rounds find the channels that matter among many that do not") {
  const int64_t F = 100, D = 10;
  Tensor W = 1e-3 * gaussian({D, F}, 3);
  const Tensor matter = at::arange(1, F, 3);  // 33 of them
  W.index_copy_(1, matter, gaussian({D, matter.size(0)}, 4));
  const Tensor A = covariance_of(gaussian({400, F}, 5)), before = A.clone();
  const Tensor kept = keep_channels(A, W, {}, matter.size(0), 1e-4);
  CHECK(bit_difference(kept, matter) == "");
  CHECK(bit_difference(A, before) == "");
}

TEST_CASE("keeping channels refuses shapes that do not fit, and moments that are not positive") {
  const Tensor A = covariance_of(gaussian({20, 6}, 1)), W = gaussian({4, 6}, 2);
  CHECK_THROWS_NAMING(keep_channels(A, gaussian({4, 5}, 2), {}, 3, kRidge), ShapeError, "(4, 5)");
  CHECK_THROWS_NAMING(keep_channels(A, W, {}, 0, kRidge), ArgumentError, "1 … 6, got 0");
  CHECK_THROWS_NAMING(keep_channels(A, W, {}, 7, kRidge), ArgumentError, "1 … 6, got 7");
  CHECK_THROWS_AS(keep_channels(-A, W, {}, 3, kRidge), NumericError);
}

TEST_CASE("scores of channels are E[h²] · wᵀ Γ w, of the feed-forward networks alone") {
  std::vector<ModelConfig> configs = tiny_families();
  configs.push_back(tiny_config());
  for (const ModelConfig& config : configs) {
    INFO(tests::describe(config));
    const auto decoder = random_decoder(config, 2);
    const ModelAdapter model = decoder->adapter();
    const Tensor tokens = random_tokens(config, 3, 8);
    std::vector<Tensor> gammas;
    for (int64_t site = 0; site < config.sites(); ++site) {
      gammas.push_back(covariance_of(gaussian({30, config.hidden_size}, 40 + site)));
    }
    const auto scores = channel_scores(model, tokens, gammas);
    REQUIRE(static_cast<int64_t>(scores.size()) == config.layers);
    Tensor x = model.embed(tokens);
    int64_t network = 0;
    for (size_t site = 0; site < model.sublayers.size(); ++site) {
      const Sublayer& s = model.sublayers[site];
      for (const Branch& part : s.branches) {
        if (!part.channels) continue;
        const Tensor h = part.hidden(s.norm_of(part)->forward(x), nullptr);  // (N, T, F)
        Tensor want = at::zeros({config.ffn_size}, at::kDouble), bound = want.clone();
        for (int64_t i = 0; i < config.ffn_size; ++i) {
          const Tensor w = part.writer.weight.select(1, i);
          const Tensor signal = h.select(2, i).square().mean();
          const Tensor size = signal * w.abs().dot(gammas[site + 1].abs().mv(w.abs()));
          want[i] = signal * w.dot(gammas[site + 1].mv(w));
          // h rounded and squared and 24 squares summed in float32, the rest in float64.
          bound[i] = sum_bound(want[i], 24 + 4, at::kFloat) +
                     sum_bound(size, 2 * config.hidden_size, at::kDouble);
        }
        CHECK(violation(scores[network++], want, bound) == "");
      }
      x = s.forward(x);
    }
  }
}

TEST_CASE("scores want a gradient for every site") {
  const auto decoder = random_decoder(tiny_config(), 2);
  CHECK_THROWS_NAMING(
      channel_scores(decoder->adapter(), random_tokens(tiny_config(), 1, 4), {Tensor()}),
      ArgumentError, "5 gradients, got 1");
}

TEST_CASE("removing channels is the same as writing zeros for them") {
  std::vector<ModelConfig> configs = tiny_families();
  for (const ModelConfig& config : tiny_configs()) configs.push_back(config);
  for (const ModelConfig& config : configs) {
    INFO(tests::describe(config));
    const auto zeroed = random_decoder(config, 2), narrowed = random_decoder(config, 2);
    const Tensor mask = gaussian({config.ffn_size}, 5) > 0, kept = mask.nonzero().squeeze(1);
    const auto names = narrowed->named_parameters().keys();
    ModelAdapter narrow = narrowed->adapter();
    for (Sublayer& s : narrow.sublayers) {
      for (Branch& part : s.branches) {
        if (!part.channels) continue;
        remove_channels(part, kept);
        CHECK(part.writer.weight.size(1) == kept.size(0));
        for (const LinearRef& reader : part.readers) CHECK(reader.weight.size(0) == kept.size(0));
      }
    }
    for (const Sublayer& s : zeroed->adapter().sublayers) {
      for (const Branch& part : s.branches) {
        Tensor writer = part.writer.weight;
        if (part.channels) writer.set_data(writer * mask);
      }
    }
    CHECK(narrowed->named_parameters().keys() == names);
    const Tensor tokens = random_tokens(config, 2, 9);
    CHECK(relative_difference(narrowed->forward(tokens), zeroed->forward(tokens)) <
          network_allowance(config, at::kDouble));
  }
}

}  // namespace
}  // namespace slice
