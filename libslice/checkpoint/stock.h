#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "libslice/model/decoder.h"

namespace slice {

/// The dense model that computes the same function as a sliced model without shortcuts whose sites
/// all have one size k: hidden size h, norms of weight one with eps · D / h, readers and head
/// scaled by √(D/h), and a head size of its own.                   (docs/method.md, "Stock form")
///   RMSNorm families     h = k
///   LayerNorm families   h = k + 1: the k coordinates lie in the subspace of R^h whose mean is
///                        zero, where LayerNorm is RMSNorm
/// For a model that was never sliced it is its own configuration. FFN widths that differ from layer
/// to layer stay.
/// @return  nothing for a model with shortcuts or sites of several sizes, with a tied head, with a
///          head bias that its family has none of, or of a family whose head size is always hidden
///          size / heads, or whose eps is not in its configuration (OPT, OLMo)
std::optional<ModelConfig> dense_config(const ModelConfig& config);

/// dense_config() where unmodified Transformers loads it, which wants one FFN width. A LLaMA whose
/// new hidden size is not a multiple of the number of heads, which LlamaConfig rejects, becomes a
/// Mistral without a window, the same network; with biases it has no stock form.
std::optional<ModelConfig> stock_config(const ModelConfig& config);

/// What the hidden size of a stock form has to be a multiple of: a LLaMA with biases keeps whole
/// heads, since it cannot become a Mistral, and so do families that want them; 1 elsewhere.
int64_t stock_hidden_unit(const ModelConfig& config);

/// The configuration that save_model() writes: stock_config() where there is one, else the model's
/// own. Sizes that are "as stored" are counted on it.
ModelConfig written_config(const ModelConfig& config);

/// How a file of one form holds the weights of a model: names, shapes, and each weight's change.
class WrittenForm {
 public:
  struct Entry {
    std::string name;
    std::vector<int64_t> shape;
  };

  /// @param held  the model's own configuration    @param form  that, or dense_config() or
  ///              stock_config() of it
  WrittenForm(const ModelConfig& held, const ModelConfig& form);

  /// In the order of the form's named_parameters().
  const std::vector<Entry>& entries() const { return entries_; }
  /// Whether the model has a weight of that name; false for a norm, whose weight is one.
  /// @throws ArgumentError  no weight of the form is called so
  bool held(const std::string& name) const;
  /// @param weight  the model's, any device; ignored where it has none
  /// @return  the weight itself, or a new float64 tensor on the CPU where the form changes it: it
  ///          is rounded once, to the dtype of the file. Cost: three such tensors at most
  /// @throws ArgumentError  no weight of the form is called so
  at::Tensor written(const std::string& name, const at::Tensor& weight) const;

 private:
  /// kHeadReader, kHeadBias: of q and k whose heads are normed, by an eps that grows with the others.
  enum class Role { kKept, kReader, kHeadReader, kHeadBias, kWriter, kEmbedding, kOnes, kZeros };

  Role role_of(const std::string& name) const;

  std::vector<Entry> entries_;
  std::map<std::string, Role> roles_;
  int64_t width_ = 0;     // h
  double scale_ = 1;      // √(D/h)
  double embedding_ = 1;  // what a scale of the embeddings that grows with the width leaves to them
};

/// Weights of a model in the form in which a file holds them, computed one at a time.
class WrittenWeights {
 public:
  using Entry = WrittenForm::Entry;

  /// @param decoder  has to outlive this
  /// @param form     the model's own configuration, for its weights unchanged; or dense_config() or
  ///                 stock_config() of it
  /// @throws ShapeError  a weight of the form is missing in the model
  WrittenWeights(const DecoderImpl& decoder, const ModelConfig& form);

  /// In the order of the form's named_parameters().
  const std::vector<Entry>& entries() const { return form_.entries(); }
  /// @return  as WrittenForm::written
  /// @throws ArgumentError  no such weight
  at::Tensor read(const std::string& name) const;

 private:
  WrittenForm form_;
  std::map<std::string, at::Tensor> weights_;  // the model's
};

}  // namespace slice
