#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "libslice/model/decoder.h"

namespace slice {

/// The dense model that a model without shortcuts is, where every site has the same size k: the
/// same function with hidden size h, norms with weight one and eps · D / h, readers and head scaled
/// by √(D/h), and heads of their own size.                                  (mathematics §5b.4)
///   RMSNorm families     h = k
///   LayerNorm families   h = k + 1: the k coordinates lie in the subspace of R^h whose mean is
///                        zero, where LayerNorm is RMSNorm
/// A model that was never sliced is its own. FFN widths that differ from layer to layer stay.
/// @return nothing: shortcuts, a last site that keeps D, a head bias that the family has none of,
/// or
///         a family whose head size is hidden size / heads (OPT).
std::optional<ModelConfig> dense_config(const ModelConfig& config);

/// The same where unmodified Transformers loads it: one FFN width. A LLaMA whose new hidden size is
/// no multiple of the number of heads, which LlamaConfig refuses, becomes a Mistral without a
/// window, the same network; one with biases then is not stock.
std::optional<ModelConfig> stock_config(const ModelConfig& config);

/// Weights of a model in the form that a file holds them in, computed one at a time.
class WrittenWeights {
 public:
  struct Entry {
    std::string name;
    std::vector<int64_t> shape;
  };

  /// @param form  the model's own configuration: weights as they stand; or dense_config() or
  ///              stock_config() of it. The decoder has to outlive this.
  WrittenWeights(const DecoderImpl& decoder, const ModelConfig& form);

  /// In the order of the form's named_parameters().
  const std::vector<Entry>& entries() const { return entries_; }
  /// @return the weight itself, or a new float64 tensor on the CPU where the form changes it: its
  ///         one rounding is the file's. Cost: one such tensor.
  at::Tensor read(const std::string& name) const;

 private:
  enum class Role { kKept, kReader, kWriter, kEmbedding, kOnes, kZeros };
  struct Source {
    at::Tensor tensor;
    Role role = Role::kKept;
  };

  std::vector<Entry> entries_;
  std::map<std::string, Source> sources_;
  int64_t width_ = 0;  // h
  double scale_ = 1;   // √(D/h)
};

}  // namespace slice
