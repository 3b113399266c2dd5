#include "libslice/method/detail/split_basis.h"

#include <ATen/ATen.h>

#include <cmath>
#include <mutex>
#include <vector>

#include "libslice/base/detail/finite.h"

namespace slice::detail {

using at::Tensor;

namespace {

constexpr int kLargestExponent = 12;  // of an entry of `hi`

/// While one lives, cuBLAS adds the parts of a split sum in float32: half precision may overflow at
/// the scale of `hi`. LibTorch's switches are the process's: the first scope of all threads takes
/// them down, and the last one sets them as they were.
class FloatSums {
 public:
  FloatSums() {
    const std::lock_guard guard(mutex_);
    if (living_++ > 0) return;
    half_ = at::globalContext().allowFP16ReductionCuBLAS();
    bfloat_ = at::globalContext().allowBF16ReductionCuBLAS();
    at::globalContext().setAllowFP16ReductionCuBLAS(false);
    at::globalContext().setAllowBF16ReductionCuBLAS(false);
  }
  FloatSums(const FloatSums&) = delete;
  FloatSums& operator=(const FloatSums&) = delete;
  ~FloatSums() {
    const std::lock_guard guard(mutex_);
    if (--living_ > 0) return;
    const auto reduced = [](Option o) { return o == Option::AllowReducedPrecisionWithSplitK; };
    const auto split = [](Option o) { return o != Option::DisallowReducedPrecisionDisallowSplitK; };
    at::globalContext().setAllowFP16ReductionCuBLAS(reduced(half_), split(half_));
    at::globalContext().setAllowBF16ReductionCuBLAS(reduced(bfloat_), split(bfloat_));
  }

 private:
  using Option = at::CuBLASReductionOption;
  static inline std::mutex mutex_;
  static inline int living_ = 0;
  static inline Option half_{}, bfloat_{};  // as they were
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
