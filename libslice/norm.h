#pragma once

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

namespace slice {

/// RMSNorm over the unsliced hidden size:  y = x · rsqrt(Σ x² / D + eps) · α.
///
/// After fusion there is no α (it lives in the layers that read the norm), and a sliced x has k ≤ D
/// coordinates while the divisor stays D: the deleted coordinates count as zero. (mathematics §1,
/// §4; SliceGPT §3.2)
class RmsNormImpl : public torch::nn::Module {
 public:
  /// @param weighted  registers α (D), ones; a fused norm has none
  RmsNormImpl(int64_t hidden_size, double eps, bool weighted = true);

  /// x (…, k) → (…, k), x's dtype; computed in float32 at least. @throws ShapeError  k > D, or k ≠
  /// D with a weight.
  at::Tensor forward(const at::Tensor& x) const;

  int64_t hidden_size() const { return hidden_size_; }
  double eps() const { return eps_; }
  bool weighted() const { return weight.defined(); }
  /// Unregisters α, once it has moved into the readers.
  void drop_weight();

  at::Tensor weight;  ///< α (D), or undefined

 private:
  int64_t hidden_size_;
  double eps_;
};
TORCH_MODULE(RmsNorm);

}  // namespace slice
