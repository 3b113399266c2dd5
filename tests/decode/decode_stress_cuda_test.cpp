// Decoding on a GPU where races, memory and long texts could show: many steps, streams that change,
// steps for which there is no memory, windows shorter than what is fed at once.

#include <ATen/ATen.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <catch2/catch_all.hpp>
#include <map>
#include <memory>
#include <vector>

#include "libslice/decode/batch.h"
#include "libslice/decode/detail/decode_model.h"
#include "libslice/decode/detail/prefill.h"
#include "libslice/decode/generator.h"
#include "tests/support/error_bounds.h"
#include "tests/support/gpu_model.h"
#include "tests/support/matchers.h"
#include "tests/support/memory_limit.h"
#include "tests/support/require_gpu.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

using at::Tensor;
using namespace tests;
using Ids = std::vector<int64_t>;

/// One layer of sizes that the kernels and flash attention take without padding.
ModelConfig one_layer() {
  ModelConfig config = tiny_config();
  config.layers = 1;
  config.hidden_size = 64;
  config.head_size = 16;
  config.ffn_size = 96;
  return config;
}

TEST_CASE("on a GPU a hundred thousand steps of 9 to 16 rows repeat, and are those of the modules",
          "[cuda]") {
  require_gpu();
  constexpr int64_t kPrompt = 4, kSteps = 780, kRepeats = 16;  // · 8 batches = 10⁵
  const ModelConfig config = one_layer();
  const Model model = on_gpu(config, at::kHalf, at::kHalf);
  const Model exact = on_gpu(config, at::kHalf, at::kDouble);
  const at::NoGradGuard no_grad;
  for (int64_t B = 9; B <= 16; ++B) {
    CAPTURE(B);
    const Tensor prompt = random_tokens(config, B, kPrompt, static_cast<uint64_t>(B)).to(at::kCUDA);
    Generator generator(model, kPrompt + kSteps, B);
    REQUIRE(generator.runs_captured());
    Tensor first;
    int64_t differ = 0;
    for (int64_t i = 0; i < kRepeats; ++i) {
      generator.truncate(0);
      generator.feed(prompt);
      const Tensor ids = generator.continue_greedy(kSteps);  // (B, kSteps)
      if (i == 0) first = ids;
      differ += (ids != first).sum().item<int64_t>();
    }
    CHECK(differ == 0);
    // Each token is the most likely one of float64 modules that are given the text, to rounding.
    const Tensor text = at::cat({prompt, first}, 1);  // (B, T)
    const Tensor logits =
        exact.decoder().forward(text).slice(1, kPrompt - 1, -1);  // (B, kSteps, V)
    const Tensor short_of =
        std::get<0>(logits.max(-1)) - logits.gather(2, first.unsqueeze(2)).squeeze(2);
    const double allowance =
        2 * network_allowance(config, at::kHalf) * logits.abs().max().item<double>();
    CHECK(short_of.max().item<double>() < allowance);
  }
}

TEST_CASE("on a GPU a generator's memory is free only once its last stream is done with it",
          "[cuda]") {
  require_gpu();
  constexpr int64_t kPrompt = 2000, kSteps = 300;
  const ModelConfig config = one_layer();
  const Model model = on_gpu(config, at::kFloat, at::kFloat);
  const Tensor tokens = random_tokens(config, 2, kPrompt + kSteps).to(at::kCUDA);
  const auto last_logits = [&](Generator& generator) {
    generator.feed(tokens.slice(1, 0, kPrompt));
    for (int64_t i = 0; i < kSteps; ++i)
      generator.feed(tokens.slice(1, kPrompt + i, kPrompt + i + 1));
    return generator.logits().clone();
  };
  Generator undisturbed(model, kPrompt + kSteps, 2);
  const Tensor want = last_logits(undisturbed).cpu();
  const auto a = c10::cuda::getStreamFromPool(), b = c10::cuda::getStreamFromPool();
  c10::cuda::device_synchronize();
  for (int round = 0; round < 10; ++round) {
    c10::cuda::CUDACachingAllocator::emptyCache();
    std::unique_ptr<Generator> generator;
    {
      const c10::cuda::CUDAStreamGuard guard(a);
      generator = std::make_unique<Generator>(model, kPrompt + kSteps, 2);
    }
    a.synchronize();
    Tensor got;
    {
      const c10::cuda::CUDAStreamGuard guard(b);
      got = last_logits(*generator);
      generator.reset();
    }
    {
      const c10::cuda::CUDAStreamGuard guard(a);
      std::vector<Tensor> taken;
      const int64_t elements = 2 * config.kv_heads * (kPrompt + kSteps) * config.head_size;
      for (int i = 0; i < 8; ++i)
        taken.push_back(at::full({elements}, 1e6, want.options().device(at::kCUDA)));
      a.synchronize();
    }
    b.synchronize();
    CHECK(bit_difference(got.cpu(), want) == "");
  }
}

/// Logits (B, V) after every `piece` tokens, by the modules, a thousand tokens at a time.
std::vector<Tensor> by_modules(const Model& model, const Tensor& tokens, int64_t piece) {
  constexpr int64_t kAtOnce = 1024;
  const at::NoGradGuard no_grad;
  const auto& decoder = model.decoder();
  KvCache cache(model.config(), tokens.size(0), tokens.size(1),
                at::TensorOptions(decoder.device()).dtype(decoder.dtype()));
  std::vector<Tensor> logits;
  for (int64_t begin = 0; begin < tokens.size(1); begin += kAtOnce) {
    const Tensor some = decoder.stream(tokens.slice(1, begin, begin + kAtOnce), &cache);
    if ((begin + kAtOnce) % piece == 0)
      logits.push_back(decoder.logits(some.select(1, -1)).to(at::kDouble).cpu());
  }
  return logits;
}

TEST_CASE("on a GPU a window shorter than the chunks of a long prompt is that of the modules",
          "[cuda]") {
  require_gpu();
  constexpr int64_t kPiece = 8192, kPieces = 2;
  ModelConfig config = one_layer();
  config.family = "mistral";
  config.layers = 2;
  config.sliding_window = 5;
  const Tensor tokens = random_tokens(config, 1, kPieces * kPiece).to(at::kCUDA);
  for (const at::ScalarType dtype : {at::kHalf, at::kBFloat16, at::kFloat}) {
    INFO(c10::toString(dtype));
    const Model model = on_gpu(config, dtype, dtype);
    const auto want = by_modules(on_gpu(config, dtype, at::kDouble), tokens, kPiece);
    const auto rounded = by_modules(model, tokens, kPiece);
    const auto is_close = [&](const Tensor& logits, int64_t i) {
      return relative_difference(logits.to(at::kDouble).cpu(), want[i]) <
             3 * relative_difference(rounded[i], want[i]) + 4 * roundoff(dtype);
    };
    Generator generator(model, kPieces * kPiece);
    const detail::DecodeModel laid_out(model.decoder(), kPieces * kPiece);
    const KvCache cache(config, 1, kPieces * kPiece, at::TensorOptions(at::kCUDA).dtype(dtype));
    for (int64_t i = 0; i < kPieces; ++i) {
      CAPTURE(i);
      const Tensor piece = tokens.slice(1, i * kPiece, (i + 1) * kPiece);
      CHECK(is_close(generator.feed(piece), i));
      CHECK(
          is_close(detail::prefill(laid_out, cache, piece, i * kPiece, /*chunk_tokens=*/3000), i));
    }
  }
}

/// Texts of a batch as they grow, by id.
void collect(std::map<int64_t, Ids>& texts, const std::vector<BatchOutput>& outputs) {
  for (const BatchOutput& output : outputs) {
    Ids& text = texts[output.id];
    text.insert(text.end(), output.tokens.begin(), output.tokens.end());
  }
}

TEST_CASE("on a GPU texts go on as ever after a step for which there was no memory", "[cuda]") {
  require_gpu();
  constexpr int64_t kTexts = 12;
  const Model model = on_gpu(tiny_config(), at::kFloat, at::kFloat);
  std::vector<Ids> prompts, want;
  const auto options = [](int64_t i) {
    GenerateOptions how{.max_tokens = 20 + i, .seed = static_cast<uint64_t>(i)};
    if (i % 2 == 1) how.sampling.temperature = 0.8;
    return how;
  };
  for (int64_t i = 0; i < kTexts; ++i) {
    prompts.push_back({1 + i, 2, 3 + i});
    want.push_back(generate(model, prompts.back(), options(i)));
  }
  int64_t failures = 0;
  for (const int64_t kibibytes : {0, 512, 1 << 10, 2 << 10, 3 << 10, 4 << 10, 6 << 10, 8 << 10,
                                  12 << 10, 20 << 10, 24 << 10, 32 << 10, 40 << 10, 64 << 10}) {
    for (const int64_t later : {1, 10}) {  // rows of our own kernels alone, and of cuBLAS
      CAPTURE(kibibytes, later);
      Batch batch(model, kTexts, 64);
      std::map<int64_t, Ids> texts;
      for (int64_t i = 0; i < 2; ++i) batch.add(prompts[i], options(i));
      collect(texts, batch.step(5));
      for (int64_t i = 2; i < 2 + later; ++i) batch.add(prompts[i], options(i));
      {
        const MemoryLimit limit(kibibytes << 10);
        for (int attempt = 0; attempt < 3; ++attempt) {
          try {
            collect(texts, batch.step(3));
          } catch (const std::exception&) {
            ++failures;
          }
        }
      }
      while (batch.running() > 0) collect(texts, batch.step(4));
      for (const auto& [id, text] : texts) {
        CAPTURE(id);
        CHECK(text == want[id]);
      }
    }
  }
  CHECK(failures > 0);
}

TEST_CASE("on a GPU a generator goes on as ever after tokens for which there was no memory",
          "[cuda]") {
  require_gpu();
  const ModelConfig config = tiny_config();
  const Model model = on_gpu(config, at::kFloat, at::kFloat);
  const Tensor prompt = random_tokens(config, 3, 5).to(at::kCUDA);
  Generator undisturbed(model, 40, 3);
  undisturbed.feed(prompt);
  const Tensor want = undisturbed.continue_greedy(30).cpu();
  int64_t failures = 0;
  for (const int64_t kibibytes : {0, 1 << 10, 2 << 10, 4 << 10, 8 << 10, 24 << 10, 48 << 10}) {
    CAPTURE(kibibytes);
    Generator generator(model, 40, 3);
    generator.feed(prompt);
    Tensor ids = at::empty({3, 0}, at::kLong);
    {
      const MemoryLimit limit(kibibytes << 10);
      try {
        ids = generator.continue_greedy(4).cpu();
      } catch (const std::exception&) {
        ++failures;
      }
    }
    ids = at::cat({ids, generator.continue_greedy(30 - ids.size(1)).cpu()}, 1);
    CHECK(at::equal(ids, want));
  }
  CHECK(failures > 0);
}

}  // namespace
}  // namespace slice
