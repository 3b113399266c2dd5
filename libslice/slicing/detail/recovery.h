#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <optional>
#include <vector>

#include "libslice/device/process_group.h"
#include "libslice/method/recover.h"
#include "libslice/method/signal.h"
#include "libslice/model/adapter.h"
#include "libslice/slicing/detail/window_parts.h"

namespace slice::detail {

/// What a sublayer is trained on: x̂ (k) before it, and what it is to come near to, the dense
/// model's z (D) after it in the basis there.
struct RecoveryTask {
  Sublayer& sublayer;
  Signal& x;
  const Signal& dense;
  const WindowParts& parts;            ///< of this rank
  const std::vector<double>& weights;  ///< of a token of each text
  const ProcessGroup& group;
  at::Tensor P;      ///< (D, k') float64, the basis there; undefined: the identity
  at::Tensor Gamma;  ///< (D, D) float64, gradient covariance there; undefined: errors count alike
  int64_t epochs;
  uint64_t seed;  ///< of the order of windows
  bool tf32;      ///< products of a float32 model on a GPU
  /// Told the tokens of every pass; may throw to stop.
  std::function<void(int64_t tokens)> passed;
};

/// Passes of a sublayer over all tokens that training and what follows it take at most.
constexpr int64_t recovery_passes(int64_t epochs) { return 3 * epochs + 2; }

/// Training of one sublayer, readers and writers, after its closed form: Adam on the windows that
/// are fitted, judged on those for choices.                       (docs/method.md, "Recovery")
///
/// The passes are in the weights' dtype; masters, errors and sums of gradients in float32 at least.
/// A step takes windows from all over the texts; each rank runs those that it has, and all take the
/// same step. Where a device has no memory for the windows of a step, they come in smaller pieces.
class Recovery {
 public:
  explicit Recovery(RecoveryTask task);
  Recovery(const Recovery&) = delete;
  /// Leaves the weights to autograd as they were.
  ~Recovery();

  /// Leaves the sublayer with the weights that were best on the windows for choices, which may be
  /// those that it began with: then they are the same tensors.
  /// @return  their share()
  double train();
  /// The error of the sublayer as it is now on the windows for choices, as a share of what it was
  /// before training: that of the text where it is largest.
  double share();

 private:
  struct Weight {
    at::Tensor parameter, best;
    bool differentiated;            // by whoever made the module
    std::optional<AdamState> adam;  // until it is trained
  };
  /// Of a coordinate on the windows for choices of a text: mean squares of the error, and of what
  /// is wanted.
  struct Squares {
    double error = 0, wanted = 0;
  };
  /// Windows of a step: of this rank's those that it has, and the number of all.
  struct Step {
    std::vector<int64_t> own;
    int64_t all = 0;
  };

  void add(const LinearRef& linear, double speed);
  std::vector<Squares> squares();
  double share_of(const std::vector<Squares>& now) const;
  /// Scales errors and steps to the closed form's error. @return  whether there is any
  bool scale_to_error();
  /// What the sublayer is to add to its shortcut, z P − x̂ S, float32 at least: (n, T, k').
  at::Tensor wanted(const at::Tensor& x, const at::Tensor& z) const;
  at::Tensor weighed(const at::Tensor& error) const;
  /// Begins again at the best weights, more slowly.
  void back_off();
  std::vector<Step> shuffled(at::Generator& random) const;
  void take(const Step& step, double size);
  /// Gradients of all weights, summed over this rank's windows of a step.
  std::vector<at::Tensor> gradients(const Step& step);
  std::vector<at::Tensor> gradients(const std::vector<int64_t>& windows, double scale) const;

  RecoveryTask task_;
  RecoverSettings settings_;
  at::ScalarType wide_;
  at::Tensor basis_, metric_;  // P and M, where errors count e M eᵀ
  std::vector<Weight> weights_;
  std::vector<double> window_weights_;  // of the tokens of this rank's windows that are fitted
  int64_t first_ = 0, fitted_ = 0;      // their first among all ranks', and the number of all
  size_t piece_;                        // windows that run together
  std::vector<Squares> before_;
  double error_scale_ = 1;
};

}  // namespace slice::detail
