#pragma once

#include <optional>
#include <string>
#include <vector>

#include "libslice/device/detail/tf32.h"
#include "libslice/device/process_group.h"
#include "libslice/method/covariance.h"
#include "libslice/method/plan.h"
#include "libslice/method/signal.h"
#include "libslice/model/adapter.h"
#include "libslice/slicing/detail/progress_reporter.h"
#include "libslice/slicing/detail/slice_sublayers.h"
#include "libslice/slicing/report.h"

namespace slice::detail {

/// The paper's loop: its state and its steps. `slice_sublayer` (slicegpt.cpp) is the method;
/// `resume` (slicegpt_resume.cpp) takes the signal to where a killed run had taken it. Every step
/// charges its own time to the report.
class SliceGpt {
 public:
  SliceGpt(ModelAdapter& model, const CalibrationWindows& windows, const SliceOptions& options,
           SliceReport& report, const OnProgress& on_progress, const LayerHooks& hooks,
           const ProcessGroup& group);

  /// Every site from the embeddings' to the head's.
  void run();

 private:
  // The method.
  void slice_embeddings();
  void slice_sublayer(int64_t site);
  void slice_head();

  // Its steps.
  /// The calibration tokens' embeddings; refuses bad tokens before anything is written.
  void embed_tokens();
  at::Tensor embedded_covariance();
  void write_embeddings(const at::Tensor& P);
  /// The readers of the sublayer before a site, in the basis P_; its shortcut leads back.
  void write_readers(int64_t site);
  /// Runs the sublayer before a site on the signal; its output is in the original basis.
  void forward(int64_t site);
  /// The same, and the covariance of its output.
  at::Tensor forward_covariance(int64_t site);
  /// The principal directions of a site, and the basis that keeps the k largest:
  ///                                                                       C = Q Λ Qᵀ,  P = Q_k
  /// A LayerNorm sees the signal without its mean, so only that is kept:  C ← M C M,  P ← M P. Then
  /// everything that P rotates is centred with it, and the norm is an RMSNorm. (docs/method.md,
  /// "LayerNorm")
  at::Tensor basis(at::Tensor C, int64_t site);
  void write_writers(int64_t site, const at::Tensor& P_next);
  /// The last site where the head is not sliced: what writes into it stays in the original basis.
  void keep_writers(int64_t site);
  void project(const at::Tensor& P);
  void write_head();

  // Resuming.
  /// Runs the signal through the layers that an earlier run finished, with the bases it found.
  /// @return  the first site that it did not find
  int64_t resume();
  /// The basis that the earlier run found.
  at::Tensor recalled(int64_t site);
  /// Before a part: the signal may be saved there.
  void save_signal(int64_t part);

  SignalOptions signal_options();
  at::Tensor matrix(Covariance& signal, int64_t site) const;
  bool keeps(int64_t site) const { return site == last_ && sizes_[last_] == D_; }
  std::string site_name(int64_t site) const;

  const Tf32Scope exact_{false};  // float32 products, whatever the process had chosen
  ModelAdapter& model_;
  const SliceOptions& options_;
  SliceReport& report_;
  const LayerHooks& hooks_;
  const ProcessGroup& group_;
  const int64_t D_, last_;
  const std::vector<int64_t> sizes_;
  const bool layer_norm_;
  const at::Tensor tokens_;  // of this rank
  ProgressReporter reporter_;
  std::optional<Signal> x_;
  at::Tensor P_;  // (D, k) basis of x_: that of the site that the next sublayer reads
};

}  // namespace slice::detail
