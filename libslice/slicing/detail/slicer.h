#pragma once

#include <optional>
#include <string>
#include <vector>

#include "libslice/device/process_group.h"
#include "libslice/method/covariance.h"
#include "libslice/method/plan.h"
#include "libslice/method/signal.h"
#include "libslice/model/adapter.h"
#include "libslice/slicing/detail/progress_reporter.h"
#include "libslice/slicing/detail/slice_sublayers.h"
#include "libslice/slicing/report.h"

namespace slice::detail {

/// The paper's loop: its state and its steps. `slice_sublayer` (slice_model.cpp) is the method;
/// `resume` (slicer_resume.cpp) brings the signal to where a loop that was killed had brought it.
class Slicer {
 public:
  Slicer(ModelAdapter& model, const at::Tensor& tokens, const SliceOptions& options,
         SliceReport& report, const OnProgress& on_progress, const LayerHooks& passage,
         const ProcessGroup& group);

  /// Every site from the embeddings' to the head's.
  void run();

 private:
  /// The calibration tokens' embeddings; refuses bad tokens before anything is written.
  void embed_tokens();
  /// The first site.                                                       E ← E P,  x̂ = z P
  void slice_embeddings();
  void slice_sublayer(int64_t site);
  void slice_head();
  /// Goes on from what an earlier loop found: the signal passes with the bases it had.
  /// @return  the first site that it did not find
  int64_t resume();

  SignalOptions signal_options();
  void read_rotated(int64_t site);
  void pass(int64_t site);
  void project(const at::Tensor& P);
  /// In front of a part, where the signal may be saved.
  void rest(int64_t part);
  /// The principal directions of a site, and the basis that keeps the k largest:
  ///                                                                       C = Q Λ Qᵀ,  P = Q_k
  /// A LayerNorm sees the stream without its mean, so only that is kept:  C ← M C M,  P ← M P. Then
  /// everything that P rotates is centred with it, and the norm is an RMSNorm. (mathematics §2)
  at::Tensor basis(at::Tensor C, int64_t site);
  /// The one that an earlier loop found.
  at::Tensor recalled(int64_t site);
  at::Tensor covariance(Covariance& signal, int64_t site) const;
  bool keeps(int64_t site) const { return site == last_ && sizes_[last_] == D_; }
  std::string site_name(int64_t site) const;

  ModelAdapter& model_;
  const SliceOptions& options_;
  SliceReport& report_;
  const LayerHooks& passage_;
  const ProcessGroup& group_;
  const int64_t D_, last_;
  const std::vector<int64_t> sizes_;
  const bool layer_norm_;
  const at::Tensor tokens_;  // of this rank
  ProgressReporter journal_;
  std::optional<Signal> x_;
  at::Tensor P_;  // (D, k) basis of the site that x_ stands in front of
};

}  // namespace slice::detail
