#pragma once

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include "libslice/model/config.h"

namespace slice {

/// The steps of a norm beside the division.
struct NormParts {
  bool weight = true, bias = true;  ///< α, and β of a LayerNorm
  bool centre = true;               ///< a LayerNorm takes the mean out
};

/// The norm before a sublayer or on what it writes, over the unsliced hidden size:
///   RMSNorm    y = x · rsqrt(Σ x² / D + eps) · α
///   LayerNorm  y = RMSNorm(x − mean(x)) + β
///   none       y = x
///
/// After slicing both are RMSNorm without weights: α and β are fused into the readers of the norm,
/// the mean is removed from the writers of the stream, and x has k ≤ D coordinates while the
/// divisor stays D: deleted coordinates count as zero.
///   (docs/method.md, "Fusion", "LayerNorm", "Slicing"; SliceGPT §3.1, §3.2)
class NormImpl : public torch::nn::Module {
 public:
  /// @param parts  of these α (D) is registered as ones and β (D) as zeros; a sliced model's norm
  ///               has none of them, nor has kNone
  /// @throws ArgumentError  hidden_size < 1, eps < 0
  NormImpl(NormKind kind, int64_t hidden_size, double eps, NormParts parts = {});

  /// x (…, k) → (…, k), x's dtype; computed in float32 at least.
  /// @throws ShapeError  k > D, or k ≠ D with a weight or a mean
  at::Tensor forward(const at::Tensor& x) const;
  /// What an RMSNorm divides by, √(Σ x² / D + eps): x (…, k) → (…, 1), float32 at least.
  at::Tensor divisor(const at::Tensor& x) const;

  NormKind kind() const { return kind_; }
  int64_t hidden_size() const { return hidden_size_; }
  double eps() const { return eps_; }
  bool weighted() const { return weight.defined(); }
  /// Whether it takes the mean out.
  bool centres() const { return centres_; }
  /// Sets α to ones and β to zeros, after both are fused into the readers.
  void reset_weights();
  /// Unregisters α and β, and leaves the mean: the norm becomes an RMSNorm without weights.
  void drop_weights();
  /// Makes it a norm of its kind again, with these weights; undefined ones are left out.
  void restore_weights(const at::Tensor& alpha, const at::Tensor& beta);

  at::Tensor weight;  ///< α (D), or undefined
  at::Tensor bias;    ///< β (D) of a LayerNorm, or undefined

 private:
  NormKind kind_;
  int64_t hidden_size_;
  double eps_;
  bool centres_;
};
TORCH_MODULE(Norm);

struct RmsNorm : Norm {
  RmsNorm(std::nullptr_t) : Norm(nullptr) {}
  RmsNorm(int64_t hidden_size, double eps, bool weighted = true)
      : Norm(NormKind::kRms, hidden_size, eps, NormParts{.weight = weighted}) {}
};

struct LayerNorm : Norm {
  LayerNorm(std::nullptr_t) : Norm(nullptr) {}
  LayerNorm(int64_t hidden_size, double eps) : Norm(NormKind::kLayer, hidden_size, eps) {}
};

}  // namespace slice
