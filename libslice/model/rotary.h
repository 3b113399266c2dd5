#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "libslice/model/config.h"

namespace slice {

/// Rotary position embedding, split-half form:
///   (u, v) → (u cos − v sin, v cos + u sin)      (RoFormer, arXiv 2104.09864, §3.4)
/// for the two halves of the first r coordinates of a head, with angle position · theta^(−2i/r);
/// the other coordinates are unchanged. Frequencies may be scaled: linearly, or as in Llama 3.1
/// (its reference code, apply_scaling).
class Rotary {
 public:
  /// @param rotary_size  r, even, ≤ d      @param theta  base, > 0
  /// @throws ArgumentError  an odd r, theta ≤ 0
  Rotary(int64_t rotary_size, double theta, const std::optional<RopeScaling>& scaling = {});

  /// @param x      (B, T, h, d), one dtype        @param first  position of x[:, 0]
  /// @return       the same shape and dtype. Angles in float64, products in float32 at least.
  /// @throws ShapeError  x is not (B, T, h, d ≥ r)
  at::Tensor apply(const at::Tensor& x, int64_t first) const;

  /// Radians per position, (r/2), with scaling.
  const std::vector<double>& frequencies() const { return frequencies_; }

 private:
  int64_t rotary_size_;
  std::vector<double> frequencies_;  // r/2, radians per position
};

}  // namespace slice
