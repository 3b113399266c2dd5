#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace slice {

/// How a sublayer is trained (docs/method.md, "Recovery"). Measured: docs/experiments.md.
struct RecoverSettings {
  int64_t windows = 4;  ///< of a step
  /// Of a step at most: by how much it may change what the weight gives, as a share of that, where
  /// the closed form misses all that is wanted; less by the root of the share that it misses.
  double rate = 0.15;
  double channels = 2;               ///< times that, of a feed-forward network's weights
  double warmup = 0.1;               ///< share of all steps before the largest
  double mean = 0.9, square = 0.99;  ///< what a step keeps of the gradient's two running means
};

/// One weight that is trained, and what Adam knows of it.
struct AdamState {
  /// @param weight  any floating dtype; copied
  /// @param scale   of its steps: rate is in units of it
  AdamState(const at::Tensor& weight, double scale);

  at::Tensor master;        ///< float32 at least
  at::Tensor mean, square;  ///< running means of g and g²
  double scale;
  int64_t steps = 0;
};

/// One step of Adam, on tensors of one shape:
///
///   m ← β₁ m + (1 − β₁) g,   v ← β₂ v + (1 − β₂) g²
///   w ← w − c·rate·scale · m̂ / (√v̂ + ε)        m̂ = m / (1 − β₁ᵗ),   v̂ = v / (1 − β₂ᵗ)
///                                                          (Kingma & Ba, arXiv 1412.6980)
///
/// @param gradient  in the master's dtype; only its direction matters, as long as it is well above ε
/// @param c         what step_share says
/// Cost: six passes over the weight, no wait for the device.
void adam_step_inplace(AdamState& state, const at::Tensor& gradient, double c,
                       const RecoverSettings& settings);

/// The size of step i of n, 0 … n − 1, as a share of the largest: grows evenly over the warm-up,
/// then falls as half a cosine does; above 0.
double step_share(int64_t i, int64_t n, double warmup);

}  // namespace slice
