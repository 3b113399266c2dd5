#include "libslice/decode/group_decoder.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/finite.h"
#include "libslice/base/detail/tensor_text.h"
#include "libslice/checkpoint/checkpoint.h"
#include "libslice/checkpoint/model.h"
#include "libslice/decode/detail/stop_token.h"
#include "libslice/decode/generator.h"
#include "libslice/decode/sampling.h"
#include "libslice/device/detail/memory.h"
#include "libslice/device/device.h"
#include "libslice/model/decoder.h"
#include "libslice/model/detail/placeholder.h"
#include "libslice/model/kv_cache.h"

namespace slice {

using at::Tensor;

namespace {

// Positions whose logits are alive together: V numbers each, far more than the stream has.
constexpr int64_t kScoredPositions = 256;

at::ScalarType held_dtype(const Checkpoint& checkpoint, const GroupDecoderOptions& options) {
  if (options.dtype) return *options.dtype;
  return options.device.is_cpu() ? at::kFloat : stored_dtype(checkpoint).value_or(at::kHalf);
}

}  // namespace

GroupDecoder::GroupDecoder(const Checkpoint& checkpoint, const ProcessGroup& group,
                           const GroupDecoderOptions& options)
    : whole_(std::make_shared<DecoderImpl>(checkpoint.config())),
      group_(group),
      held_(
          at::TensorOptions(choose_device(options.device)).dtype(held_dtype(checkpoint, options))) {
  check_entries(*whole_, checkpoint);
}

GroupDecoder::~GroupDecoder() = default;
GroupDecoder::GroupDecoder(GroupDecoder&&) noexcept = default;

const ModelConfig& GroupDecoder::config() const { return whole_->config(); }

Tensor GroupDecoder::read(const Checkpoint& checkpoint, const std::string& name) const {
  const Tensor held = checkpoint.read(name).to(held_.dtype().toScalarType());
  SLICE_CHECK_AS(NumericError, std::isfinite(detail::largest_magnitude(held)),
                 "{}: {}: holds a NaN or an Inf, or a value that does not fit into {}",
                 checkpoint.path().string(), name, detail::dtype_name(held.scalar_type()));
  return held;
}

void GroupDecoder::take(const Checkpoint& checkpoint, const ModelConfig& part,
                        const GroupDecoderOptions& options,
                        const std::function<Tensor(const std::string&)>& weight) {
  const at::NoGradGuard no_grad;
  const std::string what = detail::formatted("part {} of {} of {}", group_.rank() + 1,
                                             group_.size(), checkpoint.path().string());
  detail::name_memory(what, held_.device(), [&] {
    decoder_ = std::make_shared<DecoderImpl>(part);
    for (auto& parameter : decoder_->named_parameters())
      if (const Tensor held = weight(parameter.key()); held.defined())
        parameter.value().set_data(held.to(held_.device()));
    parts_ = decoder_->adapter();
    cache_ = std::make_unique<KvCache>(part, options.batch, options.capacity, held_);
  });
}

Tensor GroupDecoder::stream_of(Tensor words, const KvCache* cache) const {
  if (config().embedding_scale != 1) words = words * config().embedding_scale;
  const Tensor positions = decoder_->position_rows();
  if (!positions.defined()) return words;
  const int64_t row = (cache == nullptr ? 0 : cache->length()) + config().position_offset;
  return words + positions.slice(0, row, row + words.size(1));
}

void GroupDecoder::check_room(int64_t T) const {
  SLICE_ARGUMENT_CHECK(length() + T <= cache_->capacity(),
                       "decoding: {} positions do not fit into {}", length() + T,
                       cache_->capacity());
}

Tensor GroupDecoder::feed(const Tensor& tokens) {
  SLICE_CHECK(tokens.dim() == 2 && tokens.size(0) == cache_->batch() && tokens.size(1) > 0,
              "decoding: want ({}, T) tokens, got {}", cache_->batch(), detail::describe(tokens));
  check_room(tokens.size(1));
  whole_->check_tokens(tokens, length());
  advance(tokens);
  return logits_;
}

void GroupDecoder::advance(const Tensor& tokens) {
  const at::NoGradGuard no_grad;
  group_.together(
      [&] { logits_ = head(stream(tokens.to(held_.device()), cache_.get()).select(1, -1)); });
  cache_->advance(tokens.size(1));
}

Tensor GroupDecoder::continue_greedy(int64_t n) {
  SLICE_ARGUMENT_CHECK(n >= 0, "decoding: want at least 0 tokens, got {}", n);
  SLICE_ARGUMENT_CHECK(logits_.defined(), "decoding: nothing to continue, feed a prompt first");
  check_room(n);
  whole_->check_positions(length() + n);
  std::vector<Tensor> ids = {at::empty({cache_->batch(), 0}, held_.dtype(at::kLong))};
  for (int64_t i = 0; i < n; ++i) {
    detail::check_finite(logits_, "logits");
    ids.push_back(logits_.argmax(1, /*keepdim=*/true));  // (B, 1), the same on every rank
    advance(ids.back());
  }
  return at::cat(ids, 1);
}

TokenScores GroupDecoder::score(const Tensor& tokens, int64_t first, const Tensor& targets) {
  SLICE_CHECK(tokens.dim() == 1 && targets.dim() == 1 && targets.size(0) > 0 && first >= 0 &&
                  first + targets.size(0) <= tokens.size(0),
              "decoding: want (T) tokens and (n) targets of the last n of them, got {}, {} from {}",
              detail::describe(tokens), detail::describe(targets), first);
  whole_->check_tokens(tokens.unsqueeze(0), 0);
  whole_->check_tokens(targets.unsqueeze(0), 0);
  const at::NoGradGuard no_grad;
  const int64_t n = targets.size(0);
  const Tensor wanted = targets.to(held_.device()).unsqueeze(1);  // (n, 1)
  std::vector<Tensor> likelihoods, greedy;
  group_.together([&] {
    const Tensor x = stream(tokens.unsqueeze(0).to(held_.device()), nullptr).squeeze(0);  // (T, k)
    for (int64_t begin = 0; begin < n; begin += kScoredPositions) {
      const int64_t end = std::min(begin + kScoredPositions, n);
      const Tensor logits = head(x.slice(0, first + begin, first + end));  // (end − begin, V)
      const Tensor ids = wanted.slice(0, begin, end);
      const bool wide = logits.scalar_type() == at::kDouble;
      likelihoods.push_back(
          at::log_softmax(logits, 1, wide ? at::kDouble : at::kFloat).gather(1, ids).squeeze(1));
      greedy.push_back(logits.argmax(1) == ids.squeeze(1));
    }
  });
  return {at::cat(likelihoods).cpu().to(at::kDouble), at::cat(greedy).cpu()};
}

int64_t GroupDecoder::length() const { return cache_->length(); }
int64_t GroupDecoder::capacity() const { return cache_->capacity(); }

int64_t GroupDecoder::parameters() const {
  int64_t count = 0;
  for (const auto& parameter : decoder_->named_parameters())
    if (!detail::is_placeholder(parameter.value())) count += parameter.value().numel();
  return count;
}

std::vector<int64_t> generate(GroupDecoder& decoder, const std::vector<int64_t>& prompt,
                              const GenerateOptions& options,
                              const std::function<bool(int64_t)>& on_token) {
  SLICE_ARGUMENT_CHECK(!prompt.empty(), "generate: the prompt is empty");
  SLICE_ARGUMENT_CHECK(options.max_tokens >= 0, "generate: want max_tokens of at least 0, got {}",
                       options.max_tokens);
  check_sampling(options.sampling);
  const int64_t free = decoder.capacity() - std::ssize(prompt);
  SLICE_ARGUMENT_CHECK(free >= 0, "generate: a prompt of {} tokens does not fit into {} positions",
                       prompt.size(), decoder.capacity());
  const int64_t room = std::min(options.max_tokens, free);
  std::vector<int64_t> written;
  if (room == 0) return written;
  Tensor logits = decoder.feed(at::tensor(prompt, at::kLong).unsqueeze(0));  // (1, V)
  while (true) {
    const int64_t id = sample_token(logits[0], options.sampling,
                                    {options.seed, options.sequence, decoder.length()});
    if (detail::is_stop(id, options)) return written;
    written.push_back(id);
    if (on_token && !on_token(id)) return written;
    if (std::ssize(written) >= room) return written;
    logits = decoder.feed(at::tensor({id}, at::kLong).unsqueeze(0));
  }
}

}  // namespace slice
