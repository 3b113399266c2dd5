#include "libslice/model/decoder.h"

#include <ATen/ATen.h>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/tensor_text.h"
#include "libslice/model/detail/placeholder.h"
#include "libslice/model/families/family.h"

namespace slice {

using at::Tensor;

namespace {

/// Registers `module` under a dotted path with all modules of the path, since LibTorch allows no
/// dot in a name.
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

}  // namespace

DecoderImpl::DecoderImpl(const ModelConfig& config) : config_(config) {
  const models::Names& names = models::family(config.family).names;
  embedding_ = Embedding(config.vocabulary_size, config.stream_size(0));
  register_at(*this, names.embedding, embedding_.ptr());
  if (config.learned_positions > 0) {
    positions_ = Embedding(config.learned_positions, config.stream_size(0));
    register_at(*this, names.positions, positions_.ptr());
  }
  for (int64_t layer = 0; layer < config.layers; ++layer) add_layer(layer);
  final_norm_ = add_norm(names.final_norm, config.norm);
  if (!config.tied_head) {
    head_ = add_linear(names.head, config.stream_size(config.sites() - 1), config.vocabulary_size,
                       config.head_bias);
  } else if (config.sliced()) {
    add_head_map(config.shifts());
  }
}

void DecoderImpl::add_head_map(bool bias) {
  head_map_ = add_linear(models::family(config_.family).names.head + ".map",
                         config_.stream_size(config_.sites() - 1), config_.stream_size(0), bias);
}

LinearRef DecoderImpl::view(const std::string& name, const Linear& linear) {
  return {name, linear->weight, linear->bias};
}

Linear DecoderImpl::add_linear(const std::string& path, int64_t in, int64_t out, bool bias) {
  Linear linear(in, out, bias);
  register_at(*this, path, linear.ptr());
  return linear;
}

Xielu DecoderImpl::add_xielu(const std::string& path) {
  Xielu xielu;
  register_at(*this, path, xielu.ptr());
  return xielu;
}

Norm DecoderImpl::add_norm(const std::string& path, NormKind kind) {
  const NormParts dense{.weight = config_.norm_weight, .bias = config_.norm_bias},
      fused{false, false, false};
  Norm norm(kind, config_.hidden_size, config_.norm_eps, config_.sliced() ? fused : dense);
  if (kind != NormKind::kNone) register_at(*this, path, norm.ptr());
  return norm;
}

Norm DecoderImpl::add_head_norm(const std::string& path, int64_t width) {
  if (config_.head_norm == HeadNorm::kNone) return Norm(nullptr);
  Norm norm(NormKind::kRms, config_.head_norm == HeadNorm::kEach ? config_.head_size : width,
            config_.norm_eps);
  register_at(*this, path, norm.ptr());
  return norm;
}

Shortcut DecoderImpl::add_shortcut(const std::string& path, int64_t site) {
  Shortcut shortcut(config_.shortcut_of(site), config_.stream_size(site),
                    config_.stream_size(site + 1), config_.shortcut_rank);
  register_at(*this, path, shortcut.ptr());
  return shortcut;
}

void DecoderImpl::add_sublayer(const std::string& path, const std::string& norm,
                               const std::string& out_norm, int64_t site,
                               std::vector<Branch> branches) {
  const bool before = config_.norm_place != NormPlace::kAfter;
  taps_.push_back(std::make_unique<Tap>());
  sublayers_.push_back({.name = path,
                        .norm = add_norm(norm, before ? config_.norm : NormKind::kNone),
                        .branches = std::move(branches),
                        .scale = config_.residual_scale,
                        .shortcut = add_shortcut(path + "_shortcut", site),
                        .tap = taps_.back().get()});
  if (config_.norms_outputs()) sublayers_.back().out_norm = add_norm(out_norm, config_.norm);
}

void DecoderImpl::add_layer(int64_t layer) {
  const models::Names& names = models::family(config_.family).names;
  const std::string root = detail::formatted("{}.{}.", names.layers, layer);
  if (config_.parallel_block) {
    std::vector<Branch> branches = {add_attention(layer, layer), add_mlp(layer, layer)};
    if (config_.branch_norms && !config_.sliced())
      branches[1].norm = add_norm(root + names.mlp_norm, config_.norm);
    add_sublayer(root + "block", root + names.attention_norm, "", layer, std::move(branches));
    return;
  }
  const int64_t site = 2 * layer;
  add_sublayer(root + "attention", root + names.attention_norm, root + names.attention_out_norm,
               site, {add_attention(layer, site)});
  add_sublayer(root + "mlp", root + names.mlp_norm, root + names.mlp_out_norm, site + 1,
               {config_.routed() ? add_experts(layer, site + 1) : add_mlp(layer, site + 1)});
}

void DecoderImpl::check_tokens(const Tensor& tokens, int64_t first) const {
  SLICE_CHECK(tokens.dim() == 2 && tokens.numel() > 0 && tokens.scalar_type() == at::kLong,
              "tokens: want (B, T) int64, got {}", detail::describe(tokens));
  const int64_t least = tokens.min().item<int64_t>(), most = tokens.max().item<int64_t>();
  SLICE_ARGUMENT_CHECK(least >= 0 && most < config_.vocabulary_size,
                       "tokens: want ids in [0, {}), got {} … {}", config_.vocabulary_size, least,
                       most);
  check_positions(first + tokens.size(1));
}

void DecoderImpl::check_positions(int64_t count) const {
  SLICE_ARGUMENT_CHECK(count <= positions(), "positions: this model has {}, asked for {}",
                       positions(), count);
}

Tensor DecoderImpl::embed(const Tensor& tokens, int64_t first) const {
  check_tokens(tokens, first);
  Tensor words = embedding_->forward(tokens.to(device()));
  if (config_.embedding_scale != 1) words = words * config_.embedding_scale;
  if (positions_.is_empty()) return words;
  const int64_t row = first + config_.position_offset;
  return words + positions_->weight.slice(0, row, row + tokens.size(1));
}

Tensor DecoderImpl::position_rows() const {
  return positions_.is_empty() ? Tensor() : positions_->weight;
}

Tensor DecoderImpl::stream(const Tensor& tokens, KvCache* cache) const {
  Tensor x = embed(tokens, cache != nullptr ? cache->length() : 0);  // (B, T, k_0)
  for (const Sublayer& s : sublayers_) x = s.forward(x, cache);
  if (cache != nullptr) cache->advance(tokens.size(1));
  return x;  // (B, T, k_last)
}

Tensor DecoderImpl::logits(const Tensor& stream) const {
  const Tensor normed = final_norm_->forward(stream);
  const LogitForm form{config_.logit_scale, config_.logit_softcap};
  if (!head_.is_empty()) return form(head_->forward(normed));
  return form(
      at::linear(head_map_.is_empty() ? normed : head_map_->forward(normed), embedding_->weight));
}

void DecoderImpl::prepare_readers() {
  if (!config_.shifts() || (config_.qkv_bias && config_.mlp_bias)) return;
  const auto modules = named_modules("", /*include_self=*/false);
  const auto add_bias = [&](LinearRef& linear) {
    if (linear.bias.defined()) return;
    auto* module = modules[linear.name]->as<LinearImpl>();
    module->add_bias();
    linear.bias = module->bias;
  };
  for (Sublayer& s : sublayers_) {
    for (Branch& branch : s.branches) {
      for (LinearRef& reader : branch.readers) add_bias(reader);
      if (branch.channels) add_bias(branch.writer);  // mlp_bias is one for all of them
    }
  }
  config_.qkv_bias = config_.mlp_bias = true;
}

std::shared_ptr<DecoderImpl> DecoderImpl::with_prepared_readers() const {
  auto other = std::make_shared<DecoderImpl>(config_);
  const auto own = named_parameters();
  for (auto& parameter : other->named_parameters())
    parameter.value().set_data(own[parameter.key()].variable_data());
  other->prepare_readers();
  return other;
}

void DecoderImpl::prepare_head() {
  prepare_readers();
  if (config_.tied_head) {
    head_ = add_linear(models::family(config_.family).names.head, config_.hidden_size,
                       config_.vocabulary_size, config_.head_bias);
    if (!detail::is_placeholder(embedding_->weight))
      head_->weight.set_data(embedding_->weight.clone());
    config_.tied_head = false;
  }
  if (config_.shifts() && !config_.head_bias) {
    head_->add_bias();
    config_.head_bias = true;
  }
}

void DecoderImpl::set_head_map(const Tensor& weight, const Tensor& bias) {
  if (head_map_.is_empty()) add_head_map(bias.defined());
  head_map_->weight.set_data(weight);
  if (bias.defined()) head_map_->bias.set_data(bias);
}

ModelAdapter DecoderImpl::adapter() const {
  const models::Names& names = models::family(config_.family).names;
  const LinearRef embeddings_view = {names.embedding, embedding_->weight, {}};
  std::vector<LinearRef> embeddings = {embeddings_view};
  if (!positions_.is_empty()) embeddings.push_back({names.positions, positions_->weight, {}});
  return {.hidden_size = config_.hidden_size,
          .embeddings = std::move(embeddings),
          .embed = [this](const Tensor& tokens) { return embed(tokens, 0); },
          .sublayers = sublayers_,
          .final_norm = final_norm_,
          .head = config_.tied_head ? embeddings_view : view(names.head, head_),
          .head_map = head_map_.is_empty() ? LinearRef{} : view(names.head + ".map", head_map_),
          .logit_form = {config_.logit_scale, config_.logit_softcap}};
}

void DecoderImpl::set_sliced(std::vector<int64_t> sizes, ShortcutForm shortcut, int64_t rank) {
  SLICE_ARGUMENT_CHECK(static_cast<int64_t>(sizes.size()) == config_.sites(),
                       "stream sizes: want {}, got {}", config_.sites(), sizes.size());
  config_ = sliced_config(config_, std::move(sizes), /*keep_tie=*/true);  // if it has one still
  config_.shortcut = shortcut;
  config_.shortcut_rank = rank;
  for (Sublayer& s : sublayers_)
    for (Branch& branch : s.branches) branch.norm = Norm(nullptr);  // the same as s.norm by now
}

void DecoderImpl::set_ffn_sizes(std::vector<int64_t> sizes) {
  SLICE_ARGUMENT_CHECK(static_cast<int64_t>(sizes.size()) == config_.layers,
                       "ffn sizes: want {}, got {}", config_.layers, sizes.size());
  config_ = narrowed_config(config_, std::move(sizes));
}

}  // namespace slice
