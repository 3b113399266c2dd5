#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "libslice/model/config.h"

namespace slice {

/// Rotary position embedding, split-half form:
///   (u, v) → (u cos − v sin, v cos + u sin)      (RoFormer, arXiv 2104.09864, §3.4)
/// for the two halves of the first r coordinates of a head, with angle position · theta^(−2i/r);
/// the other coordinates are unchanged. Frequencies may be scaled: linearly, as in Llama 3.1 (its
/// reference code, apply_scaling), as in YaRN (arXiv 2309.00071, §3.2), as in LongRoPE (arXiv
/// 2402.13753), or dynamically (YaRN, §3.3). The last two depend on the length of the text.
class Rotary {
 public:
  /// @param rotary_size  r, even, ≤ d      @param theta  base, > 0
  /// @throws ArgumentError  an odd r, theta ≤ 0
  Rotary(int64_t rotary_size, double theta, const std::optional<RopeScaling>& scaling = {});

  /// What a layer's heads turn by; nothing where they do not.
  static std::optional<Rotary> of_layer(const ModelConfig& config, int64_t layer);

  /// @param x      (B, T, h, d), one dtype        @param first  position of x[:, 0]
  /// @return       the same shape and dtype. Angles in float64, products in float32 at least.
  /// @throws ShapeError  x is not (B, T, h, d ≥ r)
  at::Tensor apply(const at::Tensor& x, int64_t first) const;

  /// Cosines and sines, (n, r/2) float64 on `device`, of the positions first, first + 1 … in a text of
  /// `length` tokens, times the factor of the scaling.
  std::pair<at::Tensor, at::Tensor> turns(int64_t first, int64_t n, int64_t length,
                                          at::Device device) const;

  /// Radians per position, (r/2), with scaling, in a text of `length` tokens; one within the
  /// original context unless told.
  std::vector<double> frequencies(int64_t length = 1) const;
  /// What cosines and sines are multiplied by.
  double magnitude() const { return scaling_ ? scaling_->attention_factor : 1; }
  /// Tokens that a text may have before its angles depend on their number (longrope, dynamic);
  /// nothing where they never do.
  std::optional<int64_t> fixed_length() const;
  /// Whether every further token changes them (dynamic).
  bool grows() const { return scaling_ && scaling_->kind == RopeScaling::Kind::kDynamic; }

 private:
  int64_t rotary_size_;
  double theta_;
  std::optional<RopeScaling> scaling_;
};

}  // namespace slice
