#include "libslice/method/gradient.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <torch/csrc/autograd/autograd.h>

#include <catch2/catch_all.hpp>
#include <cmath>

#include "libslice/base/error.h"
#include "tests/support/error_bounds.h"
#include "tests/support/matchers.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

using at::Tensor;
using namespace tests;

/// One graph over the whole model a window, the loss as a sum of −log p(y) of sampled targets, the
/// outer products token by token.
std::vector<Tensor> gradients_by_definition(const ModelAdapter& model, const Tensor& tokens,
                                            uint64_t seed) {
  const int64_t D = model.hidden_size;
  std::vector<Tensor> sums(model.sublayers.size() + 1);
  for (Tensor& sum : sums) sum = at::zeros({D, D}, at::kDouble);
  for (int64_t window = 0; window < tokens.size(0); ++window) {
    at::Generator random = at::detail::createCPUGenerator(
        seed + 0x9E3779B97F4A7C15u * static_cast<uint64_t>(window));  // a window's own
    const Tensor ids = tokens.slice(0, window, window + 1);
    std::vector<Tensor> stream = {model.embed(ids).detach().requires_grad_(true)};
    for (const Sublayer& s : model.sublayers) stream.push_back(s.forward(stream.back()));
    const Tensor logits = at::linear(model.final_norm->forward(stream.back()), model.head.weight,
                                     model.head.bias)
                              .squeeze(0);                                            // (T, V)
    const Tensor targets = logits.detach().softmax(-1).multinomial(1, true, random);  // (T, 1)
    const Tensor loss = -logits.log_softmax(-1).gather(1, targets).sum();
    const auto gradients = torch::autograd::grad({loss}, stream);
    for (size_t site = 0; site < sums.size(); ++site) {
      for (const Tensor& g : gradients[site].squeeze(0).unbind()) sums[site] += at::outer(g, g);
    }
  }
  for (Tensor& sum : sums) sum /= static_cast<double>(tokens.numel());
  return sums;
}

TEST_CASE("gradient covariances are those of one graph over the whole model") {
  std::vector<ModelConfig> configs = tiny_families();
  configs.push_back(tiny_config());
  for (const ModelConfig& config : configs) {
    INFO(tests::describe(config));
    const auto decoder = random_decoder(config, 3);
    const ModelAdapter model = decoder->adapter();
    const Tensor tokens = random_tokens(config, 3, 11);
    const auto gammas = gradient_covariances(model, tokens, 5);
    const auto want = gradients_by_definition(model, tokens, 5);
    REQUIRE(gammas.size() == want.size());
    for (size_t site = 0; site < want.size(); ++site) {
      CAPTURE(site);
      // Forwards, backwards and squared.
      CHECK(relative_difference(gammas[site], want[site]) <
            4 * network_allowance(config, at::kDouble));
    }
  }
}

TEST_CASE("gradient covariances are symmetric, not negative, and repeat to the bit") {
  const ModelConfig config = tiny_config();
  const auto decoder = random_decoder(config, 3);
  const ModelAdapter model = decoder->adapter();
  const Tensor tokens = random_tokens(config, 2, 17);
  const auto first = gradient_covariances(model, tokens, 1),
             again = gradient_covariances(model, tokens, 1),
             other = gradient_covariances(model, tokens, 2);
  REQUIRE(static_cast<int64_t>(first.size()) == config.sites());
  for (size_t site = 0; site < first.size(); ++site) {
    CAPTURE(site);
    CHECK(bit_difference(first[site], first[site].t()) == "");
    const Tensor values = at::linalg_eigvalsh(first[site]);
    CHECK(values.min().item<double>() >
          -eigen_bound(config.hidden_size) * values.max().item<double>());
    CHECK(values.max().item<double>() > 0);
    CHECK(bit_difference(again[site], first[site]) == "");
    CHECK(bit_difference(other[site], first[site]) != "");
  }
}

TEST_CASE("the loss does not feel the mean that a LayerNorm takes out") {
  for (const ModelConfig& config : tiny_families()) {
    if (config.norm != NormKind::kLayer) continue;
    INFO(tests::describe(config));
    const auto decoder = random_decoder(config, 4);
    const Tensor ones = at::ones({config.hidden_size}, at::kDouble);
    // The head sees the stream through a LayerNorm, and the identity hands that on to every site.
    for (const Tensor& gamma :
         gradient_covariances(decoder->adapter(), random_tokens(config, 2, 9))) {
      const Tensor size = gamma.abs().mv(ones);
      CHECK(violation(gamma.mv(ones), at::zeros_like(ones),
                      size.max() * network_allowance(config, at::kDouble)) == "");
    }
  }
}

TEST_CASE("gradients leave the model as it was and report every sublayer") {
  const ModelConfig config = tiny_config();
  const auto decoder = random_decoder(config, 3, at::kFloat);
  std::vector<Tensor> before;
  for (const auto& parameter : decoder->named_parameters()) {
    before.push_back(parameter.value().clone());
  }
  int64_t reports = 0, windows = 0;
  const auto gammas = gradient_covariances(decoder->adapter(), random_tokens(config, 3, 7), 0,
                                           [&](const Progress& progress) {
                                             ++reports;
                                             CHECK(progress.step >= windows);
                                             windows = progress.step;
                                             CHECK(progress.steps == 3);
                                             CHECK(progress.eta >= 0);
                                             CHECK(std::isfinite(progress.eta));
                                           });
  CHECK(windows == 3);
  CHECK(reports == 3 * (2 * 2 * config.layers + 1));  // a sublayer there and back, and the window
  for (const Tensor& gamma : gammas) {
    CHECK(gamma.scalar_type() == at::kDouble);
    CHECK_FALSE(gamma.requires_grad());
  }
  size_t i = 0;
  for (const auto& parameter : decoder->named_parameters()) {
    INFO(parameter.key());
    CHECK(bit_difference(parameter.value(), before[i++]) == "");
    CHECK_FALSE(parameter.value().requires_grad());
    CHECK_FALSE(parameter.value().grad().defined());
  }
}

TEST_CASE("half precision gives gradients of the same size as float64") {
  const ModelConfig config = tiny_config();
  const Tensor tokens = random_tokens(config, 4, 60);
  const auto exact = gradient_covariances(random_decoder(config, 3)->adapter(), tokens);
  for (const at::ScalarType dtype : {at::kBFloat16, at::kHalf}) {
    const auto decoder = random_decoder(config, 3, dtype);
    const auto rounded = gradient_covariances(decoder->adapter(), tokens);
    for (size_t site = 0; site < exact.size(); ++site) {
      CAPTURE(c10::toString(dtype), site);
      const double ratio = (rounded[site].trace() / exact[site].trace()).item<double>();
      CHECK(std::abs(ratio - 1) < 0.3);  // other targets are sampled
    }
  }
}

TEST_CASE("half precision holds gradients that grow towards the embedding") {
  ModelConfig config = tiny_config();
  config.norm_eps = 1e-12;
  const Tensor tokens = random_tokens(config, 4, 60);
  const auto with_small_embedding = [&](at::ScalarType dtype) {
    auto decoder = random_decoder(config, 3, dtype);
    Tensor embedding = decoder->adapter().embeddings[0].weight;
    embedding.set_data((embedding.to(at::kDouble) / 1024).to(dtype));
    return decoder;
  };
  const auto exact = gradient_covariances(with_small_embedding(at::kDouble)->adapter(), tokens);
  const auto rounded = gradient_covariances(with_small_embedding(at::kHalf)->adapter(), tokens);
  CHECK((exact[0].trace() / exact.back().trace()).item<double>() > 1e4);
  for (size_t site = 0; site < exact.size(); ++site) {
    CAPTURE(site);
    CHECK(std::abs((rounded[site].trace() / exact[site].trace()).item<double>() - 1) < 0.3);
  }
}

TEST_CASE("gradients refuse tokens that are no windows") {
  const auto decoder = random_decoder(tiny_config(), 3);
  CHECK_THROWS_AS(gradient_covariances(decoder->adapter(), at::zeros({4}, at::kLong)), ShapeError);
}

TEST_CASE("a gradient that overflows names the sublayer that reads there") {
  ModelConfig config = tiny_config();
  config.norm_eps = 1e-12;
  const auto decoder = random_decoder(config, 3, at::kHalf);
  const ModelAdapter model = decoder->adapter();
  // The norm makes a small stream large: finite forwards, but backwards beyond 65504.
  Tensor embedding = model.embeddings[0].weight;
  embedding.set_data((embedding.to(at::kDouble) * 1e-6).to(at::kHalf));
  CHECK_THROWS_NAMING(gradient_covariances(model, random_tokens(config, 1, 5)), NumericError,
                      "gradient before model.layers.0.attention");
}

TEST_CASE("gradient covariances of weights that come and go are those of weights that stay") {
  for (const ModelConfig& config : tiny_families()) {
    INFO(tests::describe(config));
    const auto decoder = random_decoder(config, 3);
    const ModelAdapter model = decoder->adapter();
    const Tensor tokens = random_tokens(config, 3, 11);
    const auto want = gradient_covariances(model, tokens, 5);
    const auto parts = static_cast<int64_t>(model.sublayers.size()) + 2;
    for (int64_t together = 1; together < parts; ++together) {
      CAPTURE(together);
      std::pair<int64_t, int64_t> held = {-1, -1};
      ModelAdapter watched = model;
      watched.embed = [&](const Tensor& ids) {
        CHECK(held.first == 0);
        return model.embed(ids);
      };
      int64_t head_runs = 0;
      const HeldWeights weights{together, [&](int64_t first, int64_t last) {
                                  CHECK(last - first <= together + 1);
                                  held = {first, last};
                                  head_runs += last == parts - 1 ? 1 : 0;
                                }};
      const auto got = gradient_covariances(watched, tokens, 5, {}, {}, weights);
      CHECK(head_runs == 1);
      for (size_t site = 0; site < want.size(); ++site)
        CHECK(bit_difference(got[site], want[site]) == "");
    }
  }
}

TEST_CASE("on a GPU gradients without memory for all windows take fewer, each of them once",
          "[cuda]") {
  if (!at::hasCUDA() || at::getNumGPUs() == 0) SKIP("no CUDA device");
  const ModelConfig config = tiny_config();
  const auto decoder = random_decoder(config, 3);
  decoder->to(at::Device(at::kCUDA, 0));
  const ModelAdapter model = decoder->adapter();
  const Tensor tokens = random_tokens(config, 9, 11);
  const auto want = gradient_covariances(model, tokens, 5);
  /// A sublayer that has memory for so many windows, backwards or at any time.
  const auto short_of_memory = [&](size_t sublayer, int64_t windows, bool backwards) {
    ModelAdapter less = model;
    auto& hidden = less.sublayers[sublayer].branches[0].hidden;
    hidden = [=, whole = hidden](const Tensor& normed, KvCache* cache) {
      if (normed.size(0) > windows && (!backwards || at::GradMode::is_enabled()))
        C10_THROW_ERROR(OutOfMemoryError, "CUDA out of memory. Tried to allocate 1 GiB");
      return whole(normed, cache);
    };
    return less;
  };
  for (size_t sublayer = 0; sublayer < model.sublayers.size(); ++sublayer) {
    for (const int64_t windows : {1, 2, 5}) {
      for (const bool backwards : {false, true}) {
        CAPTURE(sublayer, windows, backwards);
        const auto got =
            gradient_covariances(short_of_memory(sublayer, windows, backwards), tokens, 5);
        for (size_t site = 0; site < want.size(); ++site)
          CHECK(relative_difference(got[site], want[site]) <
                4 * network_allowance(config, at::kDouble));
      }
    }
  }
  CHECK_THROWS_NAMING(gradient_covariances(short_of_memory(1, 0, true), tokens, 5), DeviceError,
                      "the gradients of one window of 11 tokens");
}

}  // namespace
}  // namespace slice
