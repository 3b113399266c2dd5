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

}  // namespace

std::optional<ModelConfig> dense_config(const ModelConfig& config) {
  if (!config.sliced()) return config;
  const int64_t k = config.stream_size(0);
  const bool equal = std::all_of(config.stream_sizes.begin(), config.stream_sizes.end(),
                                 [&](int64_t size) { return size == k; });
  const models::Family& family = models::family(config.family);
  if (config.shortcut != ShortcutForm::kNone || !equal || config.tied_head ||
      !family.free_head_size || (config.head_bias && !family.head_bias))
    return std::nullopt;
  ModelConfig dense = config;
  dense.stream_sizes.clear();
  dense.hidden_size = config.norm == NormKind::kLayer ? k + 1 : k;
  dense.norm_eps = config.norm_eps * static_cast<double>(config.hidden_size) /
                   static_cast<double>(dense.hidden_size);
  dense.shortcut = ModelConfig().shortcut;
  return dense;
}

std::optional<ModelConfig> stock_config(const ModelConfig& config) {
  std::optional<ModelConfig> stock = dense_config(config);
  if (!stock || !stock->ffn_sizes.empty()) return std::nullopt;
  if (config.sliced() && stock->family == "llama" && stock->hidden_size % stock->heads != 0) {
    if (stock->qkv_bias || stock->output_bias || stock->mlp_bias) return std::nullopt;
    stock->family = "mistral";
  }
  return stock;
}

WrittenWeights::WrittenWeights(const DecoderImpl& decoder, const ModelConfig& form) {
  const ModelConfig& held = decoder.config();
  const bool changes = held.sliced() && !form.sliced();
  width_ = form.hidden_size;
  scale_ = std::sqrt(static_cast<double>(held.hidden_size) / static_cast<double>(form.hidden_size));

  std::map<std::string, Role> roles;
  if (changes) {
    const ModelAdapter model = decoder.adapter();
    for (const LinearRef& embedding : model.embeddings)
      roles[embedding.name + ".weight"] = Role::kEmbedding;
    roles[model.head.name + ".weight"] = Role::kReader;
    for (const Sublayer& sublayer : model.sublayers) {
      for (const Branch& branch : sublayer.branches) {
        for (const LinearRef& reader : branch.readers)
          roles[reader.name + ".weight"] = Role::kReader;
        for (const char* part : {".weight", ".bias"})
          roles[branch.writer.name + part] = Role::kWriter;
      }
    }
  }
  const auto parameters = decoder.named_parameters();
  for (const auto& wanted : DecoderImpl(form).named_parameters()) {  // placeholders
    const std::string& name = wanted.key();
    Source source;
    if (const Tensor* tensor = parameters.find(name)) {
      source.tensor = *tensor;
      if (const auto role = roles.find(name); role != roles.end()) source.role = role->second;
    } else {
      SLICE_CHECK(changes, "writing: {} is missing", name);
      source.role = name.ends_with(".bias") ? Role::kZeros : Role::kOnes;  // of a norm
    }
    entries_.push_back({name, wanted.value().sizes().vec()});
    sources_.emplace(name, std::move(source));
  }
}

Tensor WrittenWeights::read(const std::string& name) const {
  const auto found = sources_.find(name);
  SLICE_ARGUMENT_CHECK(found != sources_.end(), "writing: no weight is called {}", name);
  const auto& [tensor, role] = found->second;
  if (role == Role::kOnes) return at::ones({width_}, at::kDouble);
  if (role == Role::kZeros) return at::zeros({width_}, at::kDouble);
  if (role == Role::kKept) return tensor;
  if (role != Role::kReader && tensor.size(role == Role::kWriter ? 0 : -1) == width_) return tensor;
  const Tensor wide = tensor.detach().to(at::kCPU, at::kDouble);
  if (role == Role::kReader) return centred(wide, width_).mul(scale_);                 // (out, h)
  if (role == Role::kWriter && wide.dim() == 2) return centred(wide.t(), width_).t();  // (h, in)
  return centred(wide, width_);  // (rows, h), or a writer's bias (h)
}

}  // namespace slice
