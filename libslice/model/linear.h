#pragma once

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

namespace slice {

/// y = x Wᵀ + b, W (out, in), b (out) or absent. Until a checkpoint is loaded its parameters have a
/// shape, but no memory (detail/placeholder.h).
class LinearImpl : public torch::nn::Module {
 public:
  LinearImpl(int64_t in, int64_t out, bool with_bias);
  /// x (…, in) → (…, out)
  at::Tensor forward(const at::Tensor& x) const;
  /// Registers a bias of zeros, in the weight's dtype and on its device.
  void add_bias();

  at::Tensor weight, bias;
};
TORCH_MODULE(Linear);

/// Row lookup: ids (…) int64 → (…, k). W (V, k).
class EmbeddingImpl : public torch::nn::Module {
 public:
  EmbeddingImpl(int64_t vocabulary, int64_t width);
  at::Tensor forward(const at::Tensor& ids) const;

  at::Tensor weight;
};
TORCH_MODULE(Embedding);

}  // namespace slice
