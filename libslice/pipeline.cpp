#include "libslice/pipeline.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "libslice/checkpoint.h"
#include "libslice/decoder.h"
#include "libslice/detail/check.h"
#include "libslice/detail/finite.h"
#include "libslice/detail/memory.h"
#include "libslice/detail/tensor_text.h"
#include "libslice/device.h"
#include "libslice/kv_cache.h"
#include "libslice/model.h"
#include "libslice/models/family.h"

namespace slice {

using at::Tensor;

namespace {

/// A run of layers as a model of its own; what it has of embedding and head is not looked at.
ModelConfig stage_config(const ModelConfig& config, int64_t begin, int64_t end) {
  const int64_t sublayers = config.parallel_block ? 1 : 2;  // of a layer
  const auto part = [](const std::vector<int64_t>& all, int64_t from, int64_t to) {
    return all.empty() ? all : std::vector<int64_t>(all.begin() + from, all.begin() + to);
  };
  ModelConfig stage = config;
  stage.layers = end - begin;
  stage.first_window_layer = std::max<int64_t>(0, config.first_window_layer - begin);
  stage.stream_sizes = part(config.stream_sizes, sublayers * begin, sublayers * end + 1);
  stage.ffn_sizes = part(config.ffn_sizes, begin, end);
  return stage;
}

/// The name that a stage's weight has in the whole model, whose layer `begin` is its first.
std::string whole_name(const std::string& name, const ModelConfig& config, int64_t begin) {
  const models::Names& names = models::family(config.family).names;
  const auto layer = models::layer_of(names, name);
  if (!layer) return name;
  const std::string prefix = names.layers + ".";
  return prefix + std::to_string(*layer + begin) + name.substr(name.find('.', prefix.size()));
}

at::ScalarType held_dtype(const Checkpoint& checkpoint, const PipelineOptions& options) {
  if (options.dtype) return *options.dtype;
  return options.device.is_cpu() ? at::kFloat : stored_dtype(checkpoint).value_or(at::kHalf);
}

}  // namespace

std::vector<int64_t> split_layers(const ModelConfig& config, int64_t stages) {
  const int64_t L = config.layers;
  SLICE_CHECK(stages >= 1 && stages <= L, "pipeline: want 1 … {} stages of {} layers, got {}", L, L,
              stages);
  const models::Names& names = models::family(config.family).names;
  std::vector<int64_t> before(L + 1, 0);  // parameters of all layers in front of each
  int64_t embedding = 0, head = 0;
  for (const auto& parameter : DecoderImpl(config).named_parameters()) {  // placeholders
    const int64_t count = parameter.value().numel();
    if (const auto layer = models::layer_of(names, parameter.key())) {
      before[*layer + 1] += count;
    } else if (models::is_embedding(names, parameter.key())) {
      embedding += count;
      if (config.tied_head) head += count;
    } else {
      head += count;
    }
  }
  for (int64_t layer = 0; layer < L; ++layer) before[layer + 1] += before[layer];
  // heaviest[s][l]: of the best s + 1 runs that end in front of layer l; cut[s][l]: the last
  // begins.
  const auto weight = [&](int64_t begin, int64_t end) {
    return before[end] - before[begin] + (begin == 0 ? embedding : 0) + (end == L ? head : 0);
  };
  constexpr int64_t kNone = std::numeric_limits<int64_t>::max();
  std::vector<std::vector<int64_t>> heaviest(stages, std::vector<int64_t>(L + 1, kNone)),
      cut(stages, std::vector<int64_t>(L + 1, 0));
  for (int64_t end = 1; end <= L; ++end) heaviest[0][end] = weight(0, end);
  for (int64_t s = 1; s < stages; ++s) {
    for (int64_t end = s + 1; end <= L; ++end) {
      for (int64_t begin = s; begin < end; ++begin) {
        const int64_t most = std::max(heaviest[s - 1][begin], weight(begin, end));
        if (most < heaviest[s][end]) {
          heaviest[s][end] = most;
          cut[s][end] = begin;
        }
      }
    }
  }
  std::vector<int64_t> cuts = {L};
  for (int64_t s = stages - 1; s >= 0; --s) cuts.push_back(cut[s][cuts.back()]);
  std::reverse(cuts.begin(), cuts.end());
  return cuts;
}

Pipeline::Pipeline(const Checkpoint& checkpoint, const ProcessGroup& group,
                   const PipelineOptions& options)
    : group_(group),
      held_(at::TensorOptions(choose_device(options.device.str()))
                .dtype(held_dtype(checkpoint, options))) {
  const ModelConfig& config = checkpoint.config();
  const std::vector<int64_t> cuts = split_layers(config, group.size());
  layers_ = {cuts[group.rank()], cuts[group.rank() + 1]};
  check_entries(DecoderImpl(config), checkpoint);
  decoder_ = std::make_shared<DecoderImpl>(stage_config(config, layers_.first, layers_.second));
  detail::name_memory(fmt::format("layers {} … {} of {}", layers_.first, layers_.second - 1,
                                  checkpoint.path().string()),
                      held_.device(), [&] {
                        read_weights(checkpoint);
                        cache_ = std::make_unique<KvCache>(decoder_->config(), options.batch,
                                                           options.capacity, held_);
                      });
}

Pipeline::~Pipeline() = default;
Pipeline::Pipeline(Pipeline&&) noexcept = default;

void Pipeline::read_weights(const Checkpoint& checkpoint) {
  const at::NoGradGuard no_grad;
  const ModelConfig& config = checkpoint.config();
  const models::Names& names = models::family(config.family).names;
  for (auto& parameter : decoder_->named_parameters()) {
    const std::string name = whole_name(parameter.key(), config, layers_.first);
    if (!models::layer_of(names, name)) {
      const bool wanted =
          models::is_embedding(names, name) ? first() || (last() && config.tied_head) : last();
      if (!wanted) continue;  // stays a placeholder
    }
    const Tensor held = checkpoint.read(name).to(held_.dtype().toScalarType());
    SLICE_CHECK_AS(NumericError, std::isfinite(detail::largest_magnitude(held)),
                   "{}: {}: holds a NaN or an Inf, or a value that does not fit into {}",
                   checkpoint.path().string(), name, detail::dtype_name(held.scalar_type()));
    parameter.value().set_data(held.to(held_.device()));
  }
}

/// tokens (B, T) → (B, T, k_0)
Tensor Pipeline::embed(const Tensor& tokens) const {
  const Tensor words =
      at::embedding(decoder_->adapter().embeddings[0].weight, tokens.to(held_.device()));
  const Tensor positions = decoder_->position_rows();
  if (!positions.defined()) return words;
  const int64_t row = length() + decoder_->config().position_offset;
  return words + positions.slice(0, row, row + tokens.size(1));
}

Tensor Pipeline::feed(const Tensor& tokens) {
  const at::NoGradGuard no_grad;
  const ModelConfig& config = decoder_->config();
  SLICE_CHECK(tokens.dim() == 2 && tokens.size(0) == cache_->batch() && tokens.size(1) > 0,
              "pipeline: want ({}, T) tokens, got {}", cache_->batch(), detail::describe(tokens));
  const int64_t B = tokens.size(0), T = tokens.size(1);
  SLICE_CHECK(length() + T <= cache_->capacity(), "pipeline: {} positions do not fit into {}",
              length() + T, cache_->capacity());
  decoder_->check_tokens(tokens, length());
  Tensor x;  // (B, T, k)
  if (first()) {
    x = embed(tokens);
  } else {
    x = at::empty({B, T, config.stream_size(0)}, held_);
    group_.receive_inplace(x, group_.rank() - 1);
  }
  for (const Sublayer& s : decoder_->adapter().sublayers) x = s.forward(x, cache_.get());
  if (!last()) group_.send(x, group_.rank() + 1);
  Tensor logits = last() ? decoder_->logits(x.select(1, -1))
                         : at::empty({B, config.vocabulary_size}, held_);  // (B, V)
  group_.copy_from_inplace(group_.size() - 1, logits);
  cache_->advance(T);
  logits_ = logits;
  return logits_;
}

Tensor Pipeline::continue_greedy(int64_t n) {
  SLICE_CHECK(n >= 0, "pipeline: want at least 0 tokens, got {}", n);
  SLICE_CHECK(logits_.defined(), "pipeline: nothing to continue, feed a prompt first");
  std::vector<Tensor> ids = {at::empty({cache_->batch(), 0}, held_.dtype(at::kLong))};
  for (int64_t i = 0; i < n; ++i) {
    detail::check_finite(logits_, "logits");
    ids.push_back(logits_.argmax(1, /*keepdim=*/true));  // (B, 1), the same on every rank
    feed(ids.back());
  }
  return at::cat(ids, 1);
}

int64_t Pipeline::length() const { return cache_->length(); }

}  // namespace slice
