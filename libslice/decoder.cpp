#include "libslice/decoder.h"

#include <ATen/ATen.h>
#include <fmt/core.h>

#include "libslice/detail/check.h"
#include "libslice/detail/tensor_text.h"
#include "libslice/models/family.h"

namespace slice {

using at::Tensor;

namespace {

/// Registers `module` under a dotted path, making the modules on the way: LibTorch allows no dot in
/// a name.
void register_at(torch::nn::Module& root, const std::string& path,
                 std::shared_ptr<torch::nn::Module> module) {
  torch::nn::Module* parent = &root;
  size_t begin = 0;
  for (size_t dot; (dot = path.find('.', begin)) != std::string::npos; begin = dot + 1) {
    const std::string step = path.substr(begin, dot - begin);
    const auto children = parent->named_children();
    const auto* child = children.find(step);
    parent = child ? child->get()
                   : parent->register_module(step, std::make_shared<torch::nn::Module>()).get();
  }
  parent->register_module(path.substr(begin), std::move(module));
}

/// @throws ShapeError  not (B, T) ids of the vocabulary.
void check_tokens(const Tensor& tokens, int64_t vocabulary_size) {
  SLICE_CHECK(tokens.dim() == 2 && tokens.numel() > 0 && tokens.scalar_type() == at::kLong,
              "tokens: want (B, T) int64, got {}", detail::describe(tokens));
  const int64_t least = tokens.min().item<int64_t>(), most = tokens.max().item<int64_t>();
  SLICE_CHECK(least >= 0 && most < vocabulary_size, "tokens: want ids in [0, {}), got {} … {}",
              vocabulary_size, least, most);
}

LinearRef view(const std::string& name, const Linear& linear) {
  return {name, linear->weight, linear->bias};
}

}  // namespace

DecoderImpl::DecoderImpl(const ModelConfig& config) : config_(config) {
  const models::Names& names = models::family(config.family).names;
  embedding_ = Embedding(config.vocabulary_size, config.stream_size(0));
  register_at(*this, names.embedding, embedding_.ptr());
  for (int64_t layer = 0; layer < config.layers; ++layer) add_layer(layer);
  final_norm_ = add_norm(names.final_norm);
  if (!config.tied_head) {
    head_ = add_linear(names.head, config.stream_size(2 * config.layers), config.vocabulary_size,
                       false);
  }
}

Linear DecoderImpl::add_linear(const std::string& path, int64_t in, int64_t out, bool bias) {
  Linear linear(in, out, bias);
  register_at(*this, path, linear.ptr());
  return linear;
}

RmsNorm DecoderImpl::add_norm(const std::string& path) {
  RmsNorm norm(config_.hidden_size, config_.norm_eps, /*weighted=*/!config_.sliced());
  register_at(*this, path, norm.ptr());
  return norm;
}

Shortcut DecoderImpl::add_shortcut(const std::string& path, int64_t site) {
  Shortcut shortcut = config_.sliced()
                          ? Shortcut(config_.stream_size(site), config_.stream_size(site + 1))
                          : Shortcut();
  register_at(*this, path, shortcut.ptr());
  return shortcut;
}

void DecoderImpl::add_layer(int64_t layer) {
  const ModelConfig& c = config_;
  const models::Names& names = models::family(c.family).names;
  const std::string root = fmt::format("{}.{}.", names.layers, layer);
  const int64_t site = 2 * layer;
  const auto linear = [&](const std::string& name, int64_t in, int64_t out, bool bias) {
    return add_linear(root + name, in, out, bias);
  };
  const auto add_sublayer = [&](Sublayer s) {
    taps_.push_back(std::make_unique<Tap>());
    s.tap = taps_.back().get();
    sublayers_.push_back(std::move(s));
  };

  const int64_t k_attention = c.stream_size(site), k_mlp = c.stream_size(site + 1),
                k_next = c.stream_size(site + 2);
  const int64_t q_width = c.heads * c.head_size, kv_width = c.kv_heads * c.head_size;
  Linear q = linear(names.q, k_attention, q_width, c.attention_bias);
  Linear k = linear(names.k, k_attention, kv_width, c.attention_bias);
  Linear v = linear(names.v, k_attention, kv_width, c.attention_bias);
  Linear o = linear(names.o, q_width, k_mlp, c.attention_bias);
  const Attention attention(c, layer, q, k, v);
  add_sublayer(
      {.name = root + "attention",
       .norm = add_norm(root + names.attention_norm),
       .inner = {{.readers = {view(root + names.q, q), view(root + names.k, k),
                              view(root + names.v, v)},
                  .hidden = [attention](const Tensor& n,
                                        KvCache* cache) { return attention.hidden(n, cache); },
                  .writer = view(root + names.o, o)}},
       .shortcut = add_shortcut(root + "attention_shortcut", site)});

  Linear gate = linear(names.gate, k_mlp, c.ffn_size, c.mlp_bias);
  Linear up = linear(names.up, k_mlp, c.ffn_size, c.mlp_bias);
  Linear down = linear(names.down, c.ffn_size, k_next, c.mlp_bias);
  const GatedMlp mlp(gate, up);
  add_sublayer({.name = root + "mlp",
                .norm = add_norm(root + names.mlp_norm),
                .inner = {{.readers = {view(root + names.gate, gate), view(root + names.up, up)},
                           .hidden = [mlp](const Tensor& n, KvCache*) { return mlp.hidden(n); },
                           .writer = view(root + names.down, down)}},
                .shortcut = add_shortcut(root + "mlp_shortcut", site + 1)});
}

Tensor DecoderImpl::stream(const Tensor& tokens, KvCache* cache) const {
  check_tokens(tokens, config_.vocabulary_size);
  Tensor x = embedding_->forward(tokens.to(device()));  // (B, T, k_0)
  for (const Sublayer& s : sublayers_) x = s.forward(x, cache);
  if (cache != nullptr) cache->advance(tokens.size(1));
  return x;  // (B, T, k_last)
}

Tensor DecoderImpl::logits(const Tensor& stream) const {
  const Tensor normed = final_norm_->forward(stream);
  return head_.is_empty() ? at::linear(normed, embedding_->weight) : head_->forward(normed);
}

void DecoderImpl::untie_head() {
  if (!config_.tied_head) return;
  head_ = add_linear(models::family(config_.family).names.head, config_.hidden_size,
                     config_.vocabulary_size, false);
  head_->weight.set_data(embedding_->weight.clone());
  config_.tied_head = false;
}

ModelAdapter DecoderImpl::adapter() const {
  SLICE_CHECK_AS(Error, !config_.tied_head,
                 "the head is tied to the embedding: untie_head() first");
  const models::Names& names = models::family(config_.family).names;
  Embedding embedding = embedding_;
  return {.hidden_size = config_.hidden_size,
          .embeddings = {{names.embedding, embedding_->weight, {}}},
          .embed =
              [embedding, vocabulary_size = config_.vocabulary_size](const Tensor& tokens) {
                check_tokens(tokens, vocabulary_size);
                return embedding->forward(tokens.to(embedding->weight.device()));
              },
          .sublayers = sublayers_,
          .final_norm = final_norm_,
          .head = view(names.head, head_)};
}

void DecoderImpl::set_stream_sizes(std::vector<int64_t> sizes) {
  SLICE_CHECK(static_cast<int64_t>(sizes.size()) == 2 * config_.layers + 1,
              "stream sizes: want {}, got {}", 2 * config_.layers + 1, sizes.size());
  config_.stream_sizes = std::move(sizes);
}

}  // namespace slice
