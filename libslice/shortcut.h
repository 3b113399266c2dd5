#pragma once

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include <optional>

namespace slice {

/// The residual connection around a sublayer:  y = x Wᵀ + r,  W = Sᵀ = P_bᵀ P_a  (k_b, k_a), or y =
/// x + r before any slicing.                                                  (mathematics §4: S =
/// P_aᵀ P_b; SliceGPT §3.3, Qᵀ_a Q_b)
class ShortcutImpl : public torch::nn::Module {
 public:
  /// Identity, without parameters.
  ShortcutImpl() = default;
  /// Dense, of a sliced model that is about to be loaded.
  ShortcutImpl(int64_t in, int64_t out);

  /// x (…, k_a), r (…, k_b) → (…, k_b): the stream behind the sublayer.
  at::Tensor forward(const at::Tensor& x, const at::Tensor& r) const;

  bool identity() const { return !weight.defined(); }
  /// Makes the shortcut dense with this matrix (k_b, k_a), stored in `dtype`.
  void set_dense(const at::Tensor& matrix, at::ScalarType dtype);

  at::Tensor weight;  ///< Sᵀ (k_b, k_a), or undefined for the identity
};
TORCH_MODULE(Shortcut);

}  // namespace slice
