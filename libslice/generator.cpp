#include "libslice/generator.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "libslice/decoder.h"
#include "libslice/detail/check.h"
#include "libslice/detail/tensor_text.h"
#include "libslice/kv_cache.h"
#include "libslice/model.h"

namespace slice {

using at::Tensor;

Generator::Generator(const Model& model, int64_t capacity, int64_t batch)
    : model_(std::make_shared<Model>(model)),
      cache_(std::make_unique<KvCache>(
          model.config(), batch, capacity,
          at::TensorOptions().device(model.decoder().device()).dtype(model.decoder().dtype()))) {}

Generator::~Generator() = default;
Generator::Generator(Generator&&) noexcept = default;

Tensor Generator::feed(const Tensor& tokens) {
  SLICE_CHECK(tokens.dim() == 2 && tokens.size(0) == cache_->batch() && tokens.size(1) > 0,
              "generator: want ({}, T) tokens, got {}", cache_->batch(), detail::describe(tokens));
  SLICE_CHECK(length() + tokens.size(1) <= cache_->capacity(),
              "generator: {} positions do not fit into {}", length() + tokens.size(1),
              cache_->capacity());
  const at::NoGradGuard no_grad;
  const Tensor stream = model_->decoder().stream(tokens, cache_.get());  // (B, T, k)
  return model_->decoder().logits(stream.select(1, -1));                 // (B, V)
}

int64_t Generator::length() const { return cache_->length(); }

void Generator::truncate(int64_t length) { cache_->truncate(length); }

std::vector<int64_t> generate(const Model& model, const std::vector<int64_t>& prompt,
                              const GenerateOptions& options,
                              const std::function<bool(int64_t)>& on_token) {
  SLICE_CHECK(!prompt.empty(), "generate: the prompt is empty");
  SLICE_CHECK(options.max_tokens >= 0, "generate: want max_tokens of at least 0, got {}",
              options.max_tokens);
  std::vector<int64_t> written;
  if (options.max_tokens == 0) return written;
  Generator generator(model, static_cast<int64_t>(prompt.size()) + options.max_tokens);
  std::mt19937_64 random(options.seed);
  Tensor logits = generator.feed(at::tensor(prompt, at::kLong).unsqueeze(0));
  while (true) {
    const int64_t id = sample_token(logits[0], options.sampling, random);
    if (std::find(options.stop_tokens.begin(), options.stop_tokens.end(), id) !=
        options.stop_tokens.end())
      break;
    written.push_back(id);
    if (on_token && !on_token(id)) break;
    if (static_cast<int64_t>(written.size()) == options.max_tokens) break;
    logits = generator.feed(at::tensor({id}, at::kLong).unsqueeze(0));
  }
  return written;
}

}  // namespace slice
