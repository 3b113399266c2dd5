#include "libslice/decode/pipeline.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>

#include "libslice/base/detail/check.h"
#include "libslice/checkpoint/checkpoint.h"
#include "libslice/model/decoder.h"
#include "libslice/model/families/family.h"

namespace slice {

using at::Tensor;

namespace {

/// A run of layers as a model of its own; its embedding and head are not used.
ModelConfig stage_config(const ModelConfig& config, int64_t begin, int64_t end) {
  const int64_t sublayers = config.parallel_block ? 1 : 2;  // of a layer
  const auto part = [](const auto& all, int64_t from, int64_t to) {
    auto some = all;
    if (!all.empty()) some.assign(all.begin() + from, all.begin() + to);
    return some;
  };
  ModelConfig stage = config;
  stage.layers = end - begin;
  stage.window_layers = part(config.window_layers, begin, end);
  stage.rotary_layers = part(config.rotary_layers, begin, end);
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

}  // namespace

std::vector<int64_t> split_layers(const ModelConfig& config, int64_t stages) {
  const int64_t L = config.layers;
  SLICE_ARGUMENT_CHECK(stages >= 1 && stages <= L,
                       "pipeline: want 1 … {} stages of {} layers, got {}", L, L, stages);
  const models::Names& names = models::family(config.family).names;
  std::vector<int64_t> before(L + 1, 0);  // parameters of all layers before each
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
  // heaviest[s][l]: of the best s + 1 runs that end before layer l; cut[s][l]: where the last of
  // them begins.
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
                   const GroupDecoderOptions& options)
    : GroupDecoder(checkpoint, group, options) {
  const std::vector<int64_t> cuts = split_layers(config(), group.size());
  layers_ = {cuts[group.rank()], cuts[group.rank() + 1]};
  const models::Names& names = models::family(config().family).names;
  const auto stays_here = [&](const std::string& name) {
    if (models::layer_of(names, name)) return true;
    if (models::is_embedding(names, name)) return first() || (last() && config().tied_head);
    return last();
  };
  take(checkpoint, stage_config(config(), layers_.first, layers_.second), options,
       [&](const std::string& parameter) {
         const std::string name = whole_name(parameter, config(), layers_.first);
         return stays_here(name) ? read(checkpoint, name) : Tensor();
       });
}

Tensor Pipeline::stream(const Tensor& tokens, KvCache* cache) const {
  const int64_t B = tokens.size(0), T = tokens.size(1);
  Tensor x;  // (B, T, k)
  if (first()) {
    x = stream_of(at::embedding(parts_.embeddings[0].weight, tokens), cache);
  } else {
    x = at::empty({B, T, decoder_->config().stream_size(0)}, held_);
    group_.receive_inplace(x, group_.rank() - 1);
  }
  for (const Sublayer& s : parts_.sublayers) x = s.forward(x, cache);
  if (!last()) group_.send(x, group_.rank() + 1);
  return x;
}

Tensor Pipeline::head(const Tensor& stream) const {
  Tensor logits = last() ? decoder_->logits(stream)
                         : at::empty({stream.size(0), config().vocabulary_size}, held_);  // (n, V)
  group_.copy_from_inplace(group_.size() - 1, logits);
  return logits;
}

}  // namespace slice
