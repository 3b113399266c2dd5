#pragma once

#include "libslice/model/config.h"
#include "libslice/model/linear.h"

namespace slice {

/// The nonlinearity, elementwise.
/// @throws ArgumentError  kXielu, which has constants: Xielu
at::Tensor activate(Activation activation, const at::Tensor& x);

/// xIELU (arXiv 2411.13010), with a = softplus(alpha_p) and c = beta + softplus(alpha_n):
///   x > 0     a x² + beta x
///   x ≤ 0     c (expm1(min(x, eps)) − x) + beta x
/// beta and eps are the same in all layers, and every file holds them.
class XieluImpl : public torch::nn::Module {
 public:
  XieluImpl();
  /// x (…) → (…)
  at::Tensor forward(const at::Tensor& x) const;

  at::Tensor alpha_p, alpha_n;  ///< (1)
  at::Tensor beta, eps;         ///< of no dimension
};
TORCH_MODULE(Xielu);

/// Feed-forward network without its down projection: act(gate(n)) · up(n), or act(up(n)) without a
/// gate.
class Mlp {
 public:
  Mlp(Activation activation, Linear gate, Linear up)
      : activation_(activation), gate_(std::move(gate)), up_(std::move(up)) {}
  Mlp(Activation activation, Linear up) : activation_(activation), up_(std::move(up)) {}
  /// act(up(n)) with xIELU.
  Mlp(Xielu xielu, Linear up)
      : activation_(Activation::kXielu), xielu_(std::move(xielu)), up_(std::move(up)) {}

  /// normed (B, T, k) → (B, T, F)
  at::Tensor hidden(const at::Tensor& normed) const;

 private:
  Activation activation_;
  Xielu xielu_{nullptr};
  Linear gate_{nullptr}, up_;
};

}  // namespace slice
