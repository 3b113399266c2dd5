#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "libslice/device/process_group.h"
#include "libslice/method/refit.h"
#include "libslice/model/norm.h"

namespace slice::detail {

/// A norm on what a sublayer writes, as its refit sees it. With r_t = rms(o_t) of the dense model
/// and r̄ of the size that they have in the mean, 1/r̄² = E[1/r²],
///
///   γ ⊙ (h Wᵀ + b) / r = a' Vᵀ,      a' = [h 1] · r̄ / r,      V = diag(g) [W b],   g = γ / r̄
///
/// a writer V of scaled signals, of which nothing else has to know: the target z − x̂ stays as it
/// is. Where |γ_j| is below kOutputNormFloor of the mean of |γ|, row j is not refitted, and counts
/// as if γ_j were that.                      (docs/method.md, "Norms on outputs")
class OutputNorm {
 public:
  /// @param norm     the sublayer's; empty: nothing is scaled
  /// @param windows  of the signal, (N, T, D)
  explicit OutputNorm(Norm norm = Norm{nullptr}, int64_t windows = 0);

  /// What the dense model writes before the norm, o (n, T, D) of the windows from `window` on.
  void see(int64_t window, const at::Tensor& o);
  /// After all windows were seen. r̄ is that of this many first ones, of all ranks together.
  void finish(int64_t summed, const ProcessGroup& group);

  /// r̄ / r of the windows begin … end, (n, T, 1), float32 at least; undefined without a norm.
  at::Tensor scale(int64_t begin, int64_t end) const;
  /// V of W. Without a norm both are the same.
  Writer scaled(Writer writer) const;
  /// W of a refitted V, with the rows of `start` (a V too) that are not refitted.
  Writer unscaled(Writer writer, const Writer& start) const;

 private:
  Norm norm_;
  int64_t windows_;
  double mean_ = 0;      // r̄
  at::Tensor divisors_;  // r (N, T, 1)
  at::Tensor weight_;    // g (D) float64
  at::Tensor kept_;      // (D) bool: rows that are not refitted
};

/// Below it a row would repair the stream by outputs so large that they change r for all others:
/// with a twentieth of it they do (tests/method/output_norm_test.cpp).
inline constexpr double kOutputNormFloor = 0.2;

}  // namespace slice::detail
