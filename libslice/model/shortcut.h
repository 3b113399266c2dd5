#pragma once

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include "libslice/model/config.h"

namespace slice {

/// The residual connection around a sublayer,  y = x S + r  with S (k_a, k_b):
///   none      S = I; where r is wider, x is padded with zeros
///   dense     W = Sᵀ = P_bᵀ P_a  (k_b, k_a)
///   diagonal  S = diag(weight), padded likewise
///   low rank  S = I + downᵀ upᵀ,  down (R, k_a), up (k_b, R)
///                        (docs/method.md, "Shortcuts": S = P_aᵀ P_b; SliceGPT §3.3: Q_aᵀ Q_b)
class ShortcutImpl : public torch::nn::Module {
 public:
  /// Identity, without parameters.
  ShortcutImpl() = default;
  /// Of a sliced model whose weights are not loaded yet.
  ShortcutImpl(ShortcutForm form, int64_t in, int64_t out, int64_t rank = 0);

  /// x (…, k_a), r (…, k_b) → (…, k_b): the stream after the sublayer.
  at::Tensor forward(const at::Tensor& x, const at::Tensor& r) const;

  bool identity() const { return !weight.defined() && !up.defined(); }
  /// Makes the shortcut dense with this matrix (k_b, k_a), stored in `dtype`.
  void set_dense(const at::Tensor& matrix, at::ScalarType dtype);
  /// Makes it diagonal with these values (min(k_a, k_b)).
  void set_diagonal(const at::Tensor& diagonal, at::ScalarType dtype);
  /// Makes it the identity plus a product of low rank: down (R, k_a), up (k_b, R).
  void set_low_rank(const at::Tensor& down, const at::Tensor& up, at::ScalarType dtype);
  /// Makes it the identity, without parameters.
  void set_identity();

  at::Tensor weight;    ///< Sᵀ (k_b, k_a), its diagonal, or undefined
  at::Tensor down, up;  ///< of a low-rank shortcut, or undefined

 private:
  void set(const char* name, at::Tensor& parameter, const at::Tensor& value, at::ScalarType dtype);
};
TORCH_MODULE(Shortcut);

}  // namespace slice
