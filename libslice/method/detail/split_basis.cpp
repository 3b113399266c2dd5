#include "libslice/method/detail/split_basis.h"

#include <ATen/ATen.h>

#include <cmath>
#include <vector>

#include "libslice/base/detail/finite.h"

namespace slice::detail {

using at::Tensor;

namespace {

constexpr int kLargestExponent = 12;  // of an entry of `hi`

/// While it lives, cuBLAS adds the parts of a split sum in float32: half precision may overflow at
/// the scale of `hi`.
class FloatSums {
 public:
  FloatSums() {
    at::globalContext().setAllowFP16ReductionCuBLAS(false);
    at::globalContext().setAllowBF16ReductionCuBLAS(false);
  }
  FloatSums(const FloatSums&) = delete;
  FloatSums& operator=(const FloatSums&) = delete;
  ~FloatSums() {
    using Option = at::CuBLASReductionOption;
    const auto reduced = [](Option o) { return o == Option::AllowReducedPrecisionWithSplitK; };
    const auto split = [](Option o) { return o != Option::DisallowReducedPrecisionDisallowSplitK; };
    at::globalContext().setAllowFP16ReductionCuBLAS(reduced(half_), split(half_));
    at::globalContext().setAllowBF16ReductionCuBLAS(reduced(bfloat_), split(bfloat_));
  }

 private:
  at::CuBLASReductionOption half_ = at::globalContext().allowFP16ReductionCuBLAS();
  at::CuBLASReductionOption bfloat_ = at::globalContext().allowBF16ReductionCuBLAS();
};

}  // namespace

SplitBasis::SplitBasis(const Tensor& P, at::ScalarType dtype) {
  const double largest = largest_magnitude(P);
  scale_ = largest > 0 ? std::exp2(kLargestExponent - std::ceil(std::log2(largest))) : 1;
  const Tensor scaled = P * scale_, hi = scaled.to(dtype);
  terms_ = at::cat({hi, (scaled - hi).to(dtype)});  // (2 D, k)
}

Tensor SplitBasis::product(const Tensor& z) const {
  const FloatSums sums;
  const Tensor rows = z.reshape({-1, z.size(-1)});  // (n, D)
  const Tensor y = at::addmm(terms_[0], at::cat({rows, rows}, 1), terms_, /*beta=*/0,
                             /*alpha=*/1 / scale_);  // (n, k)
  std::vector<int64_t> shape = z.sizes().vec();
  shape.back() = y.size(1);
  return y.view(shape);
}

}  // namespace slice::detail
