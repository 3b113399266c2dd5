// Decoding as a captured graph against the same model's modules, with a cache and token by token.

#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <catch2/catch_all.hpp>
#include <optional>

#include "libslice/base/error.h"
#include "libslice/decode/detail/decode_model.h"
#include "libslice/decode/detail/prefill.h"
#include "libslice/decode/generator.h"
#include "tests/support/decoding_layouts.h"
#include "tests/support/error_bounds.h"
#include "tests/support/gpu_model.h"
#include "tests/support/matchers.h"
#include "tests/support/require_gpu.h"

namespace slice {
namespace {

using at::Tensor;
using namespace tests;

/// The tokens and the logits before each, by LibTorch's modules.
struct Text {
  Tensor ids;     // (B, n)
  Tensor logits;  // (B, n, V)
};
Text by_modules(const Model& model, const Tensor& prompt, int64_t n) {
  const auto& decoder = model.decoder();
  KvCache cache(model.config(), prompt.size(0), prompt.size(1) + n,
                at::TensorOptions(decoder.device()).dtype(decoder.dtype()));
  std::vector<Tensor> ids, logits;
  Tensor tokens = prompt;
  for (int64_t i = 0; i < n; ++i) {
    logits.push_back(decoder.forward(tokens, &cache).select(1, -1));
    tokens = logits.back().argmax(1, true);
    ids.push_back(tokens);
  }
  return {at::cat(ids, 1), at::stack(logits, 1)};
}

std::vector<std::pair<std::string, ModelConfig>> layouts() {
  ModelConfig gelu = tiny_config();
  gelu.activation = Activation::kGelu;
  return decoding_layouts({gelu}, /*bare=*/16);
}

/// Models whose heads turn by the length of the text.
std::vector<ModelConfig> models_that_turn_by_length() {
  ModelConfig dynamic = tiny_config(), longrope = dynamic;
  dynamic.rope_scaling =
      RopeScaling{.kind = RopeScaling::Kind::kDynamic, .factor = 2, .original_context = 16};
  longrope.family = "phi3";
  longrope.rope_scaling = RopeScaling{.kind = RopeScaling::Kind::kLongRope,
                                      .factor = 4,
                                      .original_context = 16,
                                      .attention_factor = 1.1,
                                      .short_factors = {1, 1.1, 1.2},
                                      .long_factors = {1, 2, 4}};
  return {dynamic, longrope};
}

/// Logits of the last token, by the modules in one piece: (B, V) float64 on the host.
Tensor last_logits(const Model& model, const Tensor& tokens) {
  return model.decoder().forward(tokens).select(1, -1).to(at::kDouble).cpu();
}

/// The batches that a layout is tested with: a capture takes time, so those of sliced ones in turn.
std::vector<int64_t> batches(const std::string& name, const std::vector<int64_t>& all) {
  static size_t turn = 0;
  return name == "unsliced" ? all : std::vector<int64_t>{all[turn++ % all.size()]};
}

TEST_CASE("on a GPU captured greedy texts are those of the modules, in every layout", "[cuda]") {
  require_gpu();
  for (const auto& [name, config] : layouts()) {
    for (const int64_t B : batches(name, {1, 3, 17})) {
      INFO(tests::describe(config) << " " << name << " batch " << B);
      const Model model = on_gpu(config, at::kFloat);
      const Tensor prompt = random_tokens(config, B, 5).to(at::kCUDA);
      const Text want = by_modules(model, prompt, 70);
      Generator generator(model, 75, B);
      CHECK(generator.runs_captured());
      generator.feed(prompt);
      const Tensor first = generator.continue_greedy(3), second = generator.continue_greedy(66);
      CHECK(at::equal(at::cat({first, second}, 1), want.ids.slice(1, 0, 69)));
      CHECK(generator.length() == 74);
      CHECK(relative_difference(generator.logits().cpu(), want.logits.select(1, 69).cpu()) < 1e-4);
      // Laid out for decoding, the model is still the same function.
      CHECK(relative_difference(by_modules(model, prompt, 1).logits.cpu(),
                                want.logits.slice(1, 0, 1).cpu()) < 1e-5);
    }
  }
}

TEST_CASE("on a GPU captured texts turn by their length as those of the modules", "[cuda]") {
  require_gpu();
  for (const ModelConfig& config : models_that_turn_by_length()) {
    for (const int64_t prompt_length : {5, 20}) {  // of texts that the original context ends at 16
      INFO(tests::describe(config) << " prompt of " << prompt_length);
      const Model model = on_gpu(config, at::kFloat);
      const Tensor prompt = random_tokens(config, 2, prompt_length).to(at::kCUDA);
      const Text want = by_modules(model, prompt, 30);
      Generator generator(model, prompt_length + 30, 2);
      CHECK(generator.runs_captured());
      generator.feed(prompt);
      CHECK(at::equal(generator.continue_greedy(29), want.ids.slice(1, 0, 29)));
      CHECK(relative_difference(generator.logits().cpu(), want.logits.select(1, 29).cpu()) < 1e-4);
    }
  }
}

TEST_CASE("on a GPU captured logits in half precision differ by roundings", "[cuda]") {
  require_gpu();
  for (const auto& [name, config] : layouts()) {
    for (const at::ScalarType dtype : {at::kHalf, at::kBFloat16}) {
      for (const int64_t B : batches(name, {2, 20})) {
        INFO(tests::describe(config) << " " << name << " " << c10::toString(dtype) << " " << B);
        const Tensor tokens = random_tokens(config, B, 30).to(at::kCUDA);
        const Model half = on_gpu(config, dtype);
        Generator generator(half, 30, B);
        generator.feed(tokens.slice(1, 0, 7));
        Tensor captured;
        for (int64_t t = 7; t < 30; ++t) captured = generator.feed(tokens.slice(1, t, t + 1));
        const Tensor want = last_logits(on_gpu(config, dtype, at::kDouble), tokens);
        // As close to the exact logits as the modules, which round more often, to a factor.
        CHECK(relative_difference(captured.to(at::kDouble).cpu(), want) <
              3 * relative_difference(last_logits(half, tokens), want) + 4 * roundoff(dtype));
      }
    }
  }
}

/// Models whose steps one kernel takes on Hopper (cuda/decode_step.h).
std::vector<std::pair<std::string, ModelConfig>> layouts_of_one_kernel() {
  ModelConfig config = tiny_config();
  config.hidden_size = 576;
  config.head_size = 64;
  config.heads = 4;
  config.kv_heads = 2;
  config.ffn_size = 640;
  config.vocabulary_size = 600;
  ModelConfig normed = config;
  normed.family = "qwen3";
  normed.head_norm = HeadNorm::kEach;
  return {{"dense", config},
          {"normed heads", normed},
          {"sliced", sliced_config(config, std::vector<int64_t>(config.sites(), 432))}};
}

TEST_CASE("on a GPU a text by itself differs from exact ones by roundings", "[cuda]") {
  require_gpu();
  for (const auto& [name, config] : layouts_of_one_kernel()) {
    for (const at::ScalarType dtype : {at::kHalf, at::kBFloat16}) {
      INFO(name << " " << c10::toString(dtype));
      const Model model = on_gpu(config, dtype), exact = on_gpu(config, dtype, at::kDouble);
      const Tensor prompt = random_tokens(config, 1, 5).to(at::kCUDA);
      Generator generator(model, 60), again(model, 60);
      generator.feed(prompt);
      const Tensor ids = generator.continue_greedy(40), text = at::cat({prompt, ids}, 1);
      const Tensor want = last_logits(exact, text);
      CHECK(relative_difference(generator.logits().to(at::kDouble).cpu(), want) <
            3 * relative_difference(last_logits(model, text), want) + 4 * roundoff(dtype));
      again.feed(prompt);
      CHECK(at::equal(again.continue_greedy(40), ids));
      CHECK(at::equal(again.logits(), generator.logits()));
    }
  }
}

TEST_CASE("on a GPU a prompt's logits differ from exact ones by roundings, in every layout",
          "[cuda]") {
  require_gpu();
  for (const auto& [name, config] : layouts()) {
    for (const at::ScalarType dtype : {at::kFloat, at::kHalf, at::kBFloat16}) {
      for (const int64_t B : batches(name, {1, 3})) {
        INFO(tests::describe(config) << " " << name << " " << c10::toString(dtype) << " " << B);
        const Tensor tokens = random_tokens(config, B, 31).to(at::kCUDA);
        const Tensor prompt = tokens.slice(1, 0, 30);
        const Model model = on_gpu(config, dtype), exact = on_gpu(config, dtype, at::kDouble);
        // As close as the modules, which round at other places, to a factor.
        const auto is_close = [&](const Tensor& logits, const Tensor& text) {
          const Tensor want = last_logits(exact, text);
          return relative_difference(logits.to(at::kDouble).cpu(), want) <
                 3 * relative_difference(last_logits(model, text), want) + 4 * roundoff(dtype);
        };
        Generator once(model, 30, B), twice(model, 40, B);
        CHECK(is_close(once.feed(prompt), prompt));
        twice.feed(prompt.slice(1, 0, 13).cpu());
        CHECK(is_close(twice.feed(prompt.slice(1, 13)), prompt));
        CHECK(twice.length() == 30);
        CHECK(is_close(twice.feed(tokens.slice(1, 30)), tokens));
      }
    }
  }
}

TEST_CASE("on a GPU a prompt passes the layers in chunks of any size", "[cuda]") {
  require_gpu();
  for (const ModelConfig& config : {tiny_config(), tiny_families().front()}) {
    INFO(tests::describe(config));
    const Model model = on_gpu(config, at::kFloat);
    const Tensor prompt = random_tokens(config, 5, 23).to(at::kCUDA);
    const Tensor want = last_logits(model, prompt);
    const detail::DecodeModel laid_out(model.decoder(), 23);
    for (const int64_t chunk : {1, 7, 22, 23, 50, 115, 1000}) {
      INFO("chunks of " << chunk << " tokens");
      const KvCache cache(config, 5, 23, at::TensorOptions(at::kCUDA).dtype(at::kFloat));
      const Tensor logits = detail::prefill(laid_out, cache, prompt, 0, chunk);
      CHECK(relative_difference(logits.to(at::kDouble).cpu(), want) < 1e-5);
    }
  }
}

TEST_CASE("on a GPU a prompt with an id outside the vocabulary changes nothing", "[cuda]") {
  require_gpu();
  const ModelConfig config = tiny_config();
  const Model model = on_gpu(config, at::kFloat);
  Generator generator(model, 20);
  generator.feed(at::tensor({1, 2, 3}, at::kLong).unsqueeze(0));
  const Tensor logits = generator.logits();
  CHECK_THROWS_NAMING(
      generator.feed(
          at::tensor(std::vector<int64_t>{4, config.vocabulary_size}, at::kLong).unsqueeze(0)),
      ArgumentError, "want ids in");
  CHECK(generator.length() == 3);
  CHECK(generator.logits().is_same(logits));
}

TEST_CASE("on a GPU a truncated generator continues as if the rest had never been fed", "[cuda]") {
  require_gpu();
  const c10::cuda::CUDAStreamGuard stream(c10::cuda::getStreamFromPool());
  const ModelConfig config = tiny_config();
  const Model model = on_gpu(config, at::kFloat);
  const Tensor prompt = random_tokens(config, 2, 6).to(at::kCUDA);
  Generator generator(model, 40, 2);
  CHECK_THROWS_NAMING(generator.continue_greedy(1), ArgumentError, "feed a prompt first");
  generator.feed(prompt);
  const Tensor once = generator.continue_greedy(20);
  generator.truncate(6);
  CHECK_THROWS_NAMING(generator.continue_greedy(1), ArgumentError, "feed a prompt first");
  generator.truncate(5);
  generator.feed(prompt.slice(1, 5));
  CHECK(at::equal(generator.continue_greedy(20), once));
  CHECK_THROWS_NAMING(generator.continue_greedy(15), ArgumentError,
                      "41 positions do not fit into 40");
  CHECK(generator.length() == 26);
  CHECK(generator.continue_greedy(0).size(1) == 0);
  Generator moved = std::move(generator), other(model, 40, 2);
  other.feed(prompt);
  CHECK(at::equal(other.continue_greedy(24).slice(1, 20), moved.continue_greedy(4)));
}

TEST_CASE("on a GPU captured sampled texts are sample_token's of the modules' logits", "[cuda]") {
  require_gpu();
  const ModelConfig config = tiny_config();
  for (const int64_t B : {1, 3, 17}) {
    const Model model = on_gpu(config, at::kFloat);
    const Tensor prompt = random_tokens(config, B, 5).to(at::kCUDA);
    Generator generator(model, 75, B);
    for (const SamplingOptions sampling : {SamplingOptions{.temperature = 1},
                                           {.temperature = 0.7, .top_p = 0.9},
                                           {.temperature = 2, .top_p = 0.5},
                                           {}}) {
      INFO("batch " << B << " temperature " << sampling.temperature << " top-p " << sampling.top_p);
      generator.truncate(0);
      generator.feed(prompt);
      const Tensor ids = at::cat(
          {generator.continue_sampled(3, sampling, 9), generator.continue_sampled(30, sampling, 9)},
          1);  // (B, 33)
      // The modules read what the graph sampled.
      KvCache cache(config, B, 75, at::TensorOptions(at::kCUDA).dtype(at::kFloat));
      Tensor logits = model.decoder().forward(prompt, &cache).select(1, -1);
      for (int64_t i = 0; i < 33; ++i) {
        for (int64_t b = 0; b < B; ++b) {
          CHECK(
              sample_token(logits[b], sampling,
                           {.seed = 9, .sequence = static_cast<uint64_t>(b), .position = 5 + i}) ==
              ids[b][i].item<int64_t>());
        }
        logits = model.decoder().forward(ids.slice(1, i, i + 1), &cache).select(1, -1);
      }
    }
  }
}

TEST_CASE("on a GPU generate gives the modules' text, sampled ones repeat", "[cuda]") {
  require_gpu();
  const ModelConfig config = tiny_config();
  const Model model = on_gpu(config, at::kFloat);
  const std::vector<int64_t> prompt = {1, 17, 5};
  const Tensor want =
      by_modules(model, at::tensor(prompt, at::kLong).unsqueeze(0).to(at::kCUDA), 50).ids.cpu();
  const std::vector<int64_t> ids(want.const_data_ptr<int64_t>(),
                                 want.const_data_ptr<int64_t>() + want.numel());
  for (const int64_t n : {1, 2, 16, 17, 18, 50}) {
    CHECK(generate(model, prompt, {.max_tokens = n}) ==
          std::vector<int64_t>(ids.begin(), ids.begin() + n));
  }
  const auto sampled = [&] {
    return generate(model, prompt, {.max_tokens = 30, .sampling = {.temperature = 1}, .seed = 3});
  };
  CHECK(sampled() == sampled());
  Generator generator(model, 33);
  generator.feed(at::tensor(prompt, at::kLong).unsqueeze(0));
  const Tensor whole = generator.continue_sampled(30, {.temperature = 1}, 3);
  CHECK(at::equal(whole[0].cpu(), at::tensor(sampled(), at::kLong)));
}

TEST_CASE("on a GPU a NaN in the logits is an error, not a token", "[cuda]") {
  require_gpu();
  const Model model = on_gpu(tiny_config(), at::kFloat);
  Generator generator(model, 20);
  generator.feed(at::tensor({1, 2, 3}, at::kLong).unsqueeze(0));
  for (auto& parameter : model.decoder().named_parameters())
    if (parameter.key() == "lm_head.weight") parameter.value().data()[7].fill_(NAN);
  CHECK_THROWS_NAMING(generator.continue_greedy(4), NumericError, "NaN");
  CHECK(generator.length() == 3);
  generator.truncate(2);
  generator.feed(at::tensor({3}, at::kLong).unsqueeze(0));
  CHECK_THROWS_NAMING(generator.continue_sampled(4, {.temperature = 1}, 1), NumericError, "NaN");
  CHECK(generator.length() == 3);
}

}  // namespace
}  // namespace slice
