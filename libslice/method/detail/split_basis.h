#pragma once

#include <ATen/core/Tensor.h>

namespace slice::detail {

/// A float64 matrix as the sum of two half-precision terms, so that a signal of that type is
/// multiplied by it on the tensor cores in one product with float32 sums:
///
///   P = (hi + lo) / scale,     z P = [z z] [hi; lo] / scale      (docs/method.md, "Precision")
///
/// The terms differ from an entry by less than 2⁻²² of it in float16 and 2⁻¹⁷ in bfloat16, a
/// fraction of what rounding z did to the product. Measured: benchmarks/bench_slicing, calibrate.
class SplitBasis {
 public:
  /// @param P  (D, k) float64     @param dtype  kHalf or kBFloat16
  SplitBasis(const at::Tensor& P, at::ScalarType dtype);

  /// z (…, D) of the dtype, on P's device → (…, k), rounded once. Cost: 4·n·D·k flop and a copy of
  /// z, twice as wide.
  at::Tensor product(const at::Tensor& z) const;

 private:
  at::Tensor terms_;  // (2 D, k)
  double scale_;      // a power of two: keeps the lower term above float16's subnormals
};

}  // namespace slice::detail
