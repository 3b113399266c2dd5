#pragma once

#include "libslice/model/config.h"
#include "libslice/model/linear.h"

namespace slice {

/// The nonlinearity, elementwise.
at::Tensor activate(Activation activation, const at::Tensor& x);

/// Feed-forward network without its down projection: act(gate(n)) · up(n), or act(up(n)) without a
/// gate.
class Mlp {
 public:
  Mlp(Activation activation, Linear gate, Linear up)
      : activation_(activation), gate_(std::move(gate)), up_(std::move(up)) {}
  Mlp(Activation activation, Linear up) : activation_(activation), up_(std::move(up)) {}

  /// normed (B, T, k) → (B, T, F)
  at::Tensor hidden(const at::Tensor& normed) const;

 private:
  Activation activation_;
  Linear gate_{nullptr}, up_;
};

}  // namespace slice
