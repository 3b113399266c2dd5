#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "libslice/device/ops.h"
#include "libslice/device/process_group.h"

namespace slice {

using ops::kCovarianceBlock;

/// Unscaled, uncentred covariance of a signal,  C = Σ zᵀ z  over all tokens (row vectors), in a
/// float64 master on the signal's device. (docs/method.md, "Slicing")
///
/// Sums run over fixed blocks of kCovarianceBlock tokens in token order, whatever chunks the signal
/// comes in: chunk sizes never change the result. Holds D² doubles and at most one block of the
/// signal.
class Covariance {
 public:
  explicit Covariance(int64_t width);

  /// @param z  (…, D) floating point, one dtype over all calls; leading dimensions are tokens.
  /// @throws ShapeError, DtypeError, DeviceError; a device out of memory leaves the sum as it was.
  /// Cost: n·D² flop.
  void accumulate(const at::Tensor& z);
  /// What every token counts from now on, > 0; 1 at first. The sum is kept in units of the latest
  /// weight: no second matrix. A change ends the block under way.
  void set_weight(double weight);
  /// C (D, D) float64, symmetric; a copy. Of a group, the sum over its ranks, each of which
  /// accumulated a signal, which may be empty. @throws NumericError  a NaN or Inf in it, on any
  /// rank
  at::Tensor matrix(const ProcessGroup& group = {});
  /// Σ of the tokens' weights: how many there are where each is 1.
  double tokens() const { return tokens_ * weight_; }

 private:
  int64_t width_, pending_rows_ = 0;
  double tokens_ = 0, weight_ = 1;     // tokens_ and master_ are in units of it
  at::ScalarType dtype_ = at::kFloat;  // of the signal
  at::Tensor master_,                  // (D, D), the lower triangle
      pending_,                        // (kCovarianceBlock, D) rows of an unfinished block
      workspace_;
};

}  // namespace slice
