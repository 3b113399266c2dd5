#pragma once

#include "libslice/linear.h"

namespace slice {

/// Gated feed-forward network up to, but not including, its down projection: silu(gate(n)) · up(n).
class GatedMlp {
 public:
  GatedMlp(Linear gate, Linear up) : gate_(std::move(gate)), up_(std::move(up)) {}

  /// normed (B, T, k) → (B, T, F)
  at::Tensor hidden(const at::Tensor& normed) const;

 private:
  Linear gate_, up_;
};

}  // namespace slice
