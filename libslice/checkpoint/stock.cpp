#include "libslice/checkpoint/stock.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/tensor_text.h"
#include "libslice/model/families/family.h"

namespace slice {

using at::Tensor;

namespace {

/// Rows of R^k embedded isometrically in R^h: (…, k) → (…, h). For h = k they are unchanged. For
/// h = k + 1 their image has mean zero: the last k columns of the Householder matrix that maps the
/// first axis to (1, …, 1)/√h,  x → (s/√h, xᵢ − s/(h − √h)) with s = Σ xᵢ.
Tensor centred(const Tensor& rows, int64_t h) {
  if (rows.size(-1) == h) return rows;
  const Tensor sum = rows.sum(-1, /*keepdim=*/true);  // (…, 1)
  const double root = std::sqrt(static_cast<double>(h));
  return at::cat({sum / root, rows - sum / (static_cast<double>(h) - root)}, -1);
}

/// Whether the module gives queries or keys.
bool of_heads(const ModelConfig& config, const std::string& module) {
  const models::Names& names = models::family(config.family).names;
  return module.ends_with("." + names.q) || module.ends_with("." + names.k);
}

}  // namespace

std::optional<ModelConfig> dense_config(const ModelConfig& config) {
  if (!config.sliced()) return config;
  const int64_t k = config.stream_size(0);
  const bool equal = std::all_of(config.stream_sizes.begin(), config.stream_sizes.end(),
                                 [&](int64_t size) { return size == k; });
  const models::Family& family = models::family(config.family);
  if (config.shortcut != ShortcutForm::kNone || !equal || config.tied_head ||
      !family.free_head_size || family.fixed_eps || (config.head_bias && !family.head_bias))
    return std::nullopt;
  ModelConfig dense = config;
  dense.stream_sizes.clear();
  dense.hidden_size = config.norm == NormKind::kLayer ? k + 1 : k;
  dense.norm_eps = config.norm_eps * static_cast<double>(config.hidden_size) /
                   static_cast<double>(dense.hidden_size);
  dense.shortcut = ModelConfig().shortcut;
  if (family.root_embedding_scale)
    dense.embedding_scale = std::sqrt(static_cast<double>(dense.hidden_size));
  return dense;
}

int64_t stock_hidden_unit(const ModelConfig& config) {
  const bool biases = config.qkv_bias || config.output_bias || config.mlp_bias;
  const bool whole = models::family(config.family).whole_heads;
  return whole || (config.family == "llama" && biases) ? config.heads : 1;
}

std::optional<ModelConfig> stock_config(const ModelConfig& config) {
  std::optional<ModelConfig> stock = dense_config(config);
  if (!stock || !stock->ffn_sizes.empty()) return std::nullopt;
  if (!config.sliced()) return stock;
  if (stock->hidden_size % stock_hidden_unit(*stock) != 0) return std::nullopt;
  const models::Family& family = models::family(stock->family);
  if (family.stock_takes && !family.stock_takes(*stock)) return std::nullopt;
  if (stock->family == "llama" && stock->hidden_size % stock->heads != 0) stock->family = "mistral";
  return stock;
}

ModelConfig written_config(const ModelConfig& config) {
  return stock_config(config).value_or(config);
}

WrittenForm::WrittenForm(const ModelConfig& held, const ModelConfig& form)
    : width_(form.hidden_size),
      scale_(
          std::sqrt(static_cast<double>(held.hidden_size) / static_cast<double>(form.hidden_size))),
      embedding_(held.embedding_scale / form.embedding_scale) {
  const bool changes = held.sliced() && !form.sliced();
  const DecoderImpl named(held);  // placeholders
  std::map<std::string, Role> changed;
  if (changes) {
    const ModelAdapter model = named.adapter();
    for (const LinearRef& embedding : model.embeddings)
      changed[embedding.name + ".weight"] = Role::kEmbedding;
    changed[model.head.name + ".weight"] = Role::kReader;
    for (const Sublayer& sublayer : model.sublayers) {
      for (const Branch& branch : sublayer.branches) {
        for (const LinearRef& reader : branch.readers) {
          const bool normed = held.head_norm != HeadNorm::kNone && of_heads(held, reader.name);
          changed[reader.name + ".weight"] = normed ? Role::kHeadReader : Role::kReader;
          if (normed) changed[reader.name + ".bias"] = Role::kHeadBias;
        }
        for (const LinearRef& writer : branch.writers())
          for (const char* part : {".weight", ".bias"}) changed[writer.name + part] = Role::kWriter;
      }
    }
  }
  const auto parameters = named.named_parameters();
  for (const auto& wanted : DecoderImpl(form).named_parameters()) {  // placeholders
    const std::string& name = wanted.key();
    Role role = name.ends_with(".bias") ? Role::kZeros : Role::kOnes;  // of a norm
    if (parameters.contains(name) || !changes) {
      const auto found = changed.find(name);
      role = found == changed.end() ? Role::kKept : found->second;
    }
    entries_.push_back({name, wanted.value().sizes().vec()});
    roles_.emplace(name, role);
  }
}

WrittenForm::Role WrittenForm::role_of(const std::string& name) const {
  const auto found = roles_.find(name);
  SLICE_ARGUMENT_CHECK(found != roles_.end(), "writing: no weight is called {}", name);
  return found->second;
}

bool WrittenForm::held(const std::string& name) const {
  const Role role = role_of(name);
  return role != Role::kOnes && role != Role::kZeros;
}

Tensor WrittenForm::written(const std::string& name, const Tensor& weight) const {
  const Role role = role_of(name);
  if (role == Role::kOnes) return at::ones({width_}, at::kDouble);
  if (role == Role::kZeros) return at::zeros({width_}, at::kDouble);
  if (role == Role::kKept) return weight;
  const bool reads = role == Role::kReader || role == Role::kHeadReader;
  const bool scaled =
      reads || role == Role::kHeadBias || (role == Role::kEmbedding && embedding_ != 1);
  if (!scaled && weight.size(role == Role::kWriter ? 0 : -1) == width_) return weight;
  const Tensor wide = weight.detach().to(at::kCPU, at::kDouble);
  if (role == Role::kHeadBias) return wide.mul(scale_);  // (out)
  if (reads)                                             // (out, h)
    return centred(wide, width_).mul(role == Role::kReader ? scale_ : scale_ * scale_);
  if (role == Role::kWriter && wide.dim() == 2) return centred(wide.t(), width_).t();  // (h, in)
  const Tensor rows = centred(wide, width_);  // (rows, h), or a writer's bias (h)
  return role == Role::kEmbedding && embedding_ != 1 ? rows * embedding_ : rows;
}

WrittenWeights::WrittenWeights(const DecoderImpl& decoder, const ModelConfig& form)
    : form_(decoder.config(), form) {
  const auto parameters = decoder.named_parameters();
  for (const auto& [name, shape] : entries()) {
    if (!form_.held(name)) continue;
    const Tensor* weight = parameters.find(name);
    SLICE_CHECK(weight != nullptr, "writing: {} is missing", name);
    weights_.emplace(name, *weight);
  }
}

Tensor WrittenWeights::read(const std::string& name) const {
  return form_.written(name, form_.held(name) ? weights_.at(name) : Tensor());
}

}  // namespace slice
