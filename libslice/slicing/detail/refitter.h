#pragma once

#include <functional>
#include <string>
#include <vector>

#include "libslice/device/detail/tf32.h"
#include "libslice/device/ops.h"
#include "libslice/device/process_group.h"
#include "libslice/method/basis.h"
#include "libslice/method/calibration_windows.h"
#include "libslice/method/output_norm.h"
#include "libslice/method/plan.h"
#include "libslice/method/refit.h"
#include "libslice/method/signal.h"
#include "libslice/model/adapter.h"
#include "libslice/slicing/detail/hidden_signal.h"
#include "libslice/slicing/detail/named_part.h"
#include "libslice/slicing/detail/progress_reporter.h"
#include "libslice/slicing/detail/slice_sublayers.h"
#include "libslice/slicing/detail/window_parts.h"

namespace slice::detail {

/// Share of the mean diagonal that keeps channels' moments invertible.
inline constexpr double kChannelRidge = 1e-4;

/// The refit method's loop: its state and its steps. `slice_sublayer` (refitter.cpp) is the method;
/// the steps around the shortcut are in refitter_gauge.cpp, those of FFN channels in
/// refitter_channels.cpp, mixtures of experts in refitter_mixture.cpp, those of the head in
/// refitter_head.cpp, losses in refitter_loss.cpp;
/// `resume` (refitter_resume.cpp) takes the signals from where a killed run saved them.
class Refitter {
 public:
  Refitter(ModelAdapter& model, const CalibrationWindows& windows, const SliceOptions& options,
           const std::vector<at::Tensor>& gammas, SliceReport& report,
           const OnProgress& on_progress, bool trial, const LayerHooks& hooks,
           const ProcessGroup& group);

  /// Every site from the embedding's to the head's; reports what every text lost.
  void run();

 private:
  // The loop.
  /// The embeddings' site.                                             E ← E P,  x̂ = z P
  void slice_embeddings();
  void slice_sublayer(int64_t site);
  /// Refits what writes into `site`, and sets the shortcut.
  /// @return  its basis; undefined: the original one
  at::Tensor refit_writers(int64_t site);
  /// The same of a mixture of experts, whose writers are rotated as they are.
  at::Tensor slice_mixture(int64_t site);
  /// Deletes the channels of every expert, by its own tokens; the others' least squares take over
  /// what it wrote with them.
  void narrow_experts(int64_t site, Branch& branch, int64_t keep);
  void narrow_expert(int64_t site, ExpertRef& expert, const at::Tensor& A, int64_t keep);
  /// A = hᵀh of experts first … last − 1 before `site`, h what each writes with, times its share.
  std::vector<at::Tensor> expert_moments(int64_t site, int64_t first, int64_t last);
  /// C = Σ zᵀz after the mixture before `site`, in the original basis.
  at::Tensor mixture_covariance(int64_t site);
  /// Trains the sublayer before `site`, whose writers `start` were fitted to `closed`.
  void recover(int64_t site, SplitMoments moments, const Writer& start, const Refit& closed,
               const at::Tensor& P_next, const at::Tensor& S);
  bool trains() const { return options_.recover > 0 && !trial_; }
  /// Over the tokens, of a sublayer.
  int64_t passes() const;
  void slice_head();
  /// Counts a chunk's tokens as done. @return  z
  at::Tensor counted(const at::Tensor& z);
  std::string site_name(int64_t site) const;
  /// Runs the dense model's sublayer before `site` on the dense signal.
  void forward_dense(int64_t site);
  /// Moments of the sublayer before `site`.
  SplitMoments observe(int64_t site);
  /// Runs the refitted sublayer before `site` on the sliced signal.                 x̂ S + h W'ᵀ
  void forward_sliced(int64_t site);
  using See = std::function<void(const at::Tensor& x, const at::Tensor& z)>;
  using Add =
      std::function<void(MomentSums&, const at::Tensor& x, const at::Tensor& z, int64_t window)>;
  /// Shows those windows of both signals, or (0, …) where this rank has none of them.
  void visit(const WindowPart& part, const See& see);
  /// The sums to which `add` adds the windows that are not held out, each text by its weight.
  SplitMoments summed(int64_t F, int64_t k, const Add& add);
  /// Γ of a site, on the model's device; undefined without gradients.
  at::Tensor gamma(int64_t site) const;
  /// The basis of a site: the bottom of τ C + Γ / τ is deleted. A LayerNorm's C and P are without
  /// their mean. (docs/method.md, "Output-aware directions", "LayerNorm")
  at::Tensor basis(at::Tensor C, int64_t site);
  /// Where the last site keeps all of D, its basis is the one before and what that left out, so
  /// that its shortcut is [I 0]. A dense shortcut leads back to the original basis.
  at::Tensor next_basis(int64_t site, const at::Tensor& C);

  // Resuming.
  SignalOptions signal_options();
  /// The signals that the loop begins with, the dense one after the other: the embeddings of the
  /// tokens, for which a size of chunks is found, or those that an earlier run saved.
  Signal first_sliced_signal();
  Signal first_dense_signal();
  /// What else the earlier run held there.
  /// @return  the first site to slice
  int64_t resume();
  /// Before a part: the state may be saved there.
  void save_state(int64_t part);

  // Gauges.
  /// Turns the bases around a sublayer so that its shortcut has the form asked for, and sets it.
  ///                                                              (docs/method.md, "Shortcuts")
  /// @return  S (k, k'), undefined for the identity
  at::Tensor gauge(int64_t site, at::Tensor& P_next, SplitMoments& moments);
  /// S = I − Q (1 − λ) Qᵀ of the aligned bases, its R largest deviations from the identity.
  at::Tensor set_low_rank(Sublayer& s, const at::Tensor& S);
  /// Diagonal pairing: P_aᵀ P_b = U Σ Vᵀ, P_a ← P_a U, P_b ← P_b V, S = Σ. The readers, the signal
  /// and what writes into site a turn with it.
  at::Tensor pair(int64_t site, at::Tensor& P_next, SplitMoments& moments);
  /// Turns what writes into a finished site: the sublayer before it, or the embeddings.
  void turn_what_writes(int64_t site, const at::Tensor& U);

  /// Takes rank 0's on every rank: solvers of two machines may differ in last bits and in signs.
  void agree(Writer& writer) const;
  ops::Eigen agreed(ops::Eigen eigen) const;
  /// P'ᵀ W,  P'ᵀ b
  static Writer rotated(const Writer& writer, const at::Tensor& P);

  /// Puts a refitted writer into the sublayer, on every rank rank 0's.
  void store(Sublayer& s, Writer writer, const Writer& start) const;

  // FFN channels.
  /// Deletes what the plan deletes of the feed-forward networks in this sublayer; the other
  /// channels' least squares take over what they wrote.
  void drop_channels(Sublayer& s, int64_t site, Writer& writer, SplitMoments& moments);
  /// Channels that the next feed-forward network keeps, by the plan; counted in the report.
  int64_t next_width(const Branch& branch);
  void narrow(Branch& branch, int64_t site, int64_t column, int64_t width, int64_t keep,
              Writer& writer, SplitMoments& moments);

  // The head.
  /// The head reads the sliced signal as if it were the dense one:
  ///   M = argmin ‖n̂ M − n‖² over normalised signals,  W_head ← W_head diag(α) Mᵀ
  ///                                                                  (docs/method.md, "Refit")
  void refit_head();
  /// The head stays the rotated embedding E P₀, and reads through the map that comes nearest to the
  /// dense logits:
  ///   K = argmin ‖(n̂ K P₀ᵀ − n) Eᵀ‖² = M diag(α) G P₀ (P₀ᵀ G P₀)⁻¹,  G = EᵀE
  ///                                                                  (docs/method.md, "Refit")
  void map_head();
  /// What an untied head reads after a trial or the run, n = n̂ M diag(α) + β; a tied one through
  /// its map.
  Writer head_reader();
  /// n̂ ↦ n̂ M diag(α) + β: W (D, k), b (D).
  Writer dense_reader();
  /// K of map_head: W (k_0, k_last), b (k_0).
  Writer tie_map();
  /// M (k, D) of refit_head.
  at::Tensor head_map();

  // Losses of the windows that are held out, after the last sublayer, into the report.
  void score_dense();
  void score_sliced();
  /// Nats a token of each of parts_.held_out, by what the head gives (T, V) of x (T, k), z (T, D).
  using Logits = std::function<at::Tensor(const at::Tensor& x, const at::Tensor& z)>;
  std::vector<double> losses(const Logits& logits_of);

  ModelAdapter& model_;
  const SliceOptions& options_;
  const std::vector<at::Tensor>& gammas_;
  SliceReport& report_;
  const bool trial_;
  const LayerHooks& hooks_;
  const ProcessGroup& group_;
  const int64_t D_, last_;
  const std::vector<int64_t> sizes_;
  const bool rotates_, layer_norm_;
  const ShortcutForm form_;
  const at::ScalarType dtype_;
  const WindowParts parts_;            // of this rank
  const std::vector<double> weights_;  // of a token of each text
  const Tf32Scope exact_{false};       // float32 products outside the forward passes
  ProgressReporter reporter_;
  Signal x_, dense_;  // the sliced model's signal in basis P_, the dense one's in the original
  HiddenSignal hidden_;
  OutputNorm output_;  // of the sublayer that is refitted: all writers here are scaled by it
  // Of a tied head: the embeddings' basis (D, k_0), EᵀE (D, D), the dense E.
  at::Tensor first_, G_, E_;
  at::Tensor P_;  // (D, k) basis of x_: that of the site that the next sublayer reads
  OutputAwareBasis output_aware_;
  int64_t networks_ = 0;
};

}  // namespace slice::detail
