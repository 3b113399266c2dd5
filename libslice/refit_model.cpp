#include "libslice/refit_model.h"

#include <ATen/ATen.h>

#include "libslice/basis.h"
#include "libslice/calibration.h"
#include "libslice/channels.h"
#include "libslice/covariance.h"
#include "libslice/detail/check.h"
#include "libslice/detail/finite.h"
#include "libslice/detail/hidden_signal.h"
#include "libslice/detail/joint_writer.h"
#include "libslice/detail/journal.h"
#include "libslice/detail/snapshot.h"
#include "libslice/device.h"
#include "libslice/fuse.h"
#include "libslice/gradient.h"
#include "libslice/ops.h"
#include "libslice/refit.h"
#include "libslice/rotate.h"
#include "libslice/stream.h"

namespace slice {

using at::Tensor;

namespace {

/// Share of the mean diagonal that keeps channels' moments invertible.
constexpr double kChannelRidge = 1e-4;
/// The same of the embedding's Gram matrix.
constexpr double kTieRidge = 1e-10;

/// The state of the loop and its steps. `slice_sublayer` is the method; the others serve one line
/// of it.
class Refitter {
 public:
  Refitter(ModelAdapter& model, const Tensor& tokens, const SliceOptions& options,
           const std::vector<Tensor>& gammas, SliceReport& report, const OnProgress& on_progress,
           bool trial)
      : model_(model),
        options_(options),
        gammas_(gammas),
        report_(report),
        trial_(trial),
        D_(model.hidden_size),
        last_(static_cast<int64_t>(model.sublayers.size())),
        sizes_(plan_stream_sizes(D_, last_ + 1, options)),
        rotates_(sizes_[0] < D_),
        layer_norm_(model.final_norm->kind() == NormKind::kLayer),
        form_(options.shortcut_form()),
        dtype_(model.head.weight.scalar_type()),
        journal_(report, on_progress, 3 * last_, tokens.numel()),
        fit_windows_(tokens.size(0) - held_out_windows(tokens.size(0))),
        x_(tokens, options.chunk_tokens > 0 ? options.chunk_tokens : kHostChunkTokens, model.embed,
           [this](int64_t chunk) {
             journal_.note(fmt::format("{} is short of memory: going on in chunks of {} tokens",
                                       report_.device, chunk));
           }),
        dense_(x_.clone()),
        hidden_(x_.windows()) {
    detail::describe_run(report, model, tokens, sizes_);
    if (options.chunk_tokens <= 0) {
      x_.set_chunk_tokens(detail::fitting_chunk_tokens(model));
      dense_.set_chunk_tokens(x_.chunk_tokens());
    }
  }

  /// Every sublayer from the embedding to the head.
  void run() {
    embed();
    for (int64_t site = 1; site <= last_; ++site) {
      if (trial_) {
        const detail::Snapshot before(model_.sublayers[site - 1]);  // puts it back
        slice_sublayer(site);
      } else {
        slice_sublayer(site);
      }
    }
    report_.chunk_tokens = x_.chunk_tokens();
  }

  /// The head reads the sliced stream as if it were the dense one's:
  ///   M = argmin ‖n̂ M − n‖² over normalised signals,  W_head ← W_head diag(α) Mᵀ  (mathematics
  ///   §5b)
  void refit_head() {
    const detail::Charge charge(report_.rewrite_seconds);
    rotate_head(model_, head_map().t());
  }

  /// The head stays the rotated embedding E P₀, behind the map that comes nearest to the dense
  /// logits:
  ///   K = argmin ‖(n̂ K P₀ᵀ − n) Eᵀ‖² = M diag(α) G P₀ (P₀ᵀ G P₀)⁻¹,  G = EᵀE  (mathematics §5b)
  void map_head() {
    const detail::Charge charge(report_.rewrite_seconds);
    const Writer map = tie_map();
    const Tensor weight = map.weight.to(dtype_).contiguous();
    detail::check_finite(weight, "head map");
    model_.head_map = {"head map", weight, map.bias.defined() ? map.bias.to(dtype_) : Tensor()};
    model_.final_norm->drop_weights();
  }

  /// Mean negative log-likelihood of the held-out tokens behind the sliced sublayers.
  double held_out_loss(const Tensor& tokens) {
    const Writer M = rotates_ ? head_reader() : Writer();  // n̂ ↦ the dense model's n: (D, k)
    const Tensor W = rotates_ ? M.weight.to(dtype_) : Tensor(),
                 b = M.bias.defined() ? M.bias.to(dtype_) : Tensor();
    double total = 0;
    int64_t window = fit_windows_, scored = 0;
    x_.visit_beside(dense_, fit_windows_, x_.windows(), [&](const Tensor& x, const Tensor&) {
      const Tensor ids = tokens.slice(0, window, window + x.size(0)).to(x.device());
      for (int64_t i = 0; i < x.size(0); ++i) {
        Tensor n = x[i];  // (T, k)
        if (rotates_) {
          n = at::linear(ops::rms_norm(n, D_, model_.final_norm->eps()), W, b);
        } else {
          n = model_.final_norm->forward(n);
        }
        const Tensor logits = at::linear(n, model_.head.weight, model_.head.bias);  // (T, V)
        const int64_t T = logits.size(0);
        total += at::cross_entropy_loss(logits.slice(0, 0, T - 1).to(at::kFloat),
                                        ids[i].slice(0, 1), {}, at::Reduction::Sum)
                     .item<double>();
        scored += T - 1;
      }
      window += x.size(0);
    });
    return total / static_cast<double>(std::max<int64_t>(scored, 1));
  }

  bool rotates() const { return rotates_; }

 private:
  /// The embedding's site.                                              E ← E P,  x̂ = z P
  void embed() {
    if (!rotates_) return journal_.site_done(site_name(0), D_, 1.0);
    Covariance embedded(D_);
    {
      const detail::Charge charge(report_.calibrate_seconds, model_.head.weight.device());
      x_.visit([&](const Tensor& z) { embedded.accumulate(z); });
    }
    P_ = basis(embedded.matrix(), 0);
    first_ = P_;
    if (options_.keep_tie) {
      const Tensor E = model_.head.weight.to(at::kDouble);  // (V, D), not rotated yet
      gram_ = E.t().mm(E);
    }
    if (!trial_) rotate_embeddings(model_, P_);
    x_.project(P_);
  }

  void slice_sublayer(int64_t site) {
    Sublayer& s = model_.sublayers[site - 1];
    {
      const detail::Charge charge(report_.calibrate_seconds, model_.head.weight.device());
      dense_.transform([&](const Tensor& z) { return passed(s.forward(z)); });  // the dense model
    }
    if (rotates_) {
      const detail::Charge charge(report_.rewrite_seconds);
      rotate_readers(s, P_);  // W_in ← W_in diag(α) P
    }
    Moments fit, held;
    {
      const detail::Charge charge(report_.calibrate_seconds, model_.head.weight.device());
      fit = observe(site, 0, fit_windows_);
      held = observe(site, fit_windows_, x_.windows());
    }
    Writer writer = detail::writer_of(s);
    drop_channels(s, site, writer, fit, held);

    Tensor P_next, S;  // undefined: the original basis, and the identity
    if (rotates_) {
      P_next = next_basis(
          site, signal_covariance(trial_ ? fit : fit + held, P_, writer.weight, writer.bias));
      S = gauge(site, P_next, fit, held);
      writer = rotated(writer, P_next);
    } else {
      journal_.site_done(site_name(site), D_, 1.0);
    }
    {
      const detail::Charge charge(report_.refit_seconds);
      const Refit refit = refit_writer(fit, held, writer, P_next, S, /*both=*/!trial_);
      detail::set_writer(s, refit.writer);
    }
    const detail::Charge charge(report_.calibrate_seconds, model_.head.weight.device());
    int64_t window = 0;
    x_.transform([&](const Tensor& x) {
      const Tensor h = hidden_.of(window, s, x);
      window += x.size(0);
      return passed(detail::written(s, h, x));  // x̂' = x̂ S + h W'ᵀ
    });
    hidden_.forget();
    P_ = P_next;
  }

  Tensor passed(const Tensor& z) {
    journal_.chunk_done(z.size(0) * z.size(1));
    return z;
  }

  std::string site_name(int64_t site) const {
    return site < last_ ? model_.sublayers[site].name : "head";
  }

  /// Moments of the sublayer in front of `site`, over some windows.
  Moments observe(int64_t site, int64_t begin, int64_t end) {
    if (begin == end) return {};
    const Sublayer& s = model_.sublayers[site - 1];
    MomentSums sums(detail::hidden_width(s), x_.width(), D_);
    int64_t window = begin;
    x_.visit_beside(dense_, begin, end, [&](const Tensor& x, const Tensor& z) {
      const Tensor h = detail::hidden_of(s, x);  // (n, T, F)
      hidden_.keep(window, h);
      sums.accumulate(h, x, z);
      window += x.size(0);
      passed(x);
    });
    try {
      return sums.moments();
    } catch (const NumericError& error) {
      throw NumericError(fmt::format("signal in front of {}: {}", site_name(site), error.what()));
    }
  }

  /// Γ of a site, on the model's device; undefined without gradients.
  Tensor gamma(int64_t site) const {
    return gammas_.empty() ? Tensor() : gammas_[site].to(model_.head.weight.device());
  }

  /// The basis of a site.                     P: bottom of τ C + Γ / τ deleted; of a LayerNorm's C
  /// and P without their mean (mathematics §2, §5b.1)
  Tensor basis(Tensor C, int64_t site) {
    const detail::Charge charge(report_.eigen_seconds);
    detail::check_finite(C, "signal in front of " + site_name(site));
    if (layer_norm_) C = centred_columns(centred_rows(C));
    const Tensor P = output_aware_(C, gamma(site), sizes_[site]);
    const Tensor kept = P.t().mm(C.mm(P)).diagonal().sum();
    const double all = C.diagonal().sum().item<double>();
    journal_.site_done(site_name(site), sizes_[site], all > 0 ? kept.item<double>() / all : 1.0);
    return layer_norm_ ? centred_columns(P) : P;
  }

  /// Where the last site keeps all of D, its basis is the one before and what that left out: its
  /// shortcut is [I 0]. A dense shortcut leads back to the original basis.
  Tensor next_basis(int64_t site, const Tensor& C) {
    if (sizes_[site] < D_) return basis(C, site);
    journal_.site_done(site_name(site), D_, 1.0);
    if (form_ == ShortcutForm::kDense) {
      const Tensor I = at::eye(D_, P_.options());
      return layer_norm_ ? centred_rows(I) : I;
    }
    const Tensor whole = extended_basis(P_);
    return layer_norm_ ? centred_columns(whole) : whole;
  }

  /// Turns the bases around a sublayer so that its shortcut is what the form asks for, and sets it.
  ///                                                                         (mathematics §5)
  /// @return  S (k, k'), undefined for the identity
  Tensor gauge(int64_t site, Tensor& P_next, Moments& fit, Moments& held) {
    Sublayer& s = model_.sublayers[site - 1];
    const bool extends = P_next.size(1) > P_.size(1);
    if (form_ != ShortcutForm::kDense && extends) return {};  // [I 0]
    const bool paired = form_ == ShortcutForm::kDiagonal && site % 2 == 1;
    if (form_ == ShortcutForm::kNone || form_ == ShortcutForm::kLowRank) {
      P_next = P_next.mm(polar_factor(P_next.t().mm(P_)));  // next to P
      if (form_ == ShortcutForm::kNone) return {};
      return set_low_rank(s, P_.t().mm(P_next));
    }
    if (paired) return pair(site, P_next, fit, held);
    const Tensor S = P_.t().mm(P_next);
    s.shortcut->set_dense(S.t(), dtype_);
    return S;
  }

  /// S = I − Q (1 − λ) Qᵀ of the aligned bases, its R largest deviations from the identity.
  Tensor set_low_rank(Sublayer& s, const Tensor& S) {
    const int64_t k = S.size(0), R = std::min(options_.shortcut_rank, k);
    const ops::Eigen eigen = ops::symmetric_eigen((S + S.t()) / 2);
    const Tensor Q = eigen.vectors.slice(1, 0, R);                         // (k, R), λ ascending
    const Tensor up = Q * (eigen.values.slice(0, 0, R) - 1).unsqueeze(0);  // (k, R)
    s.shortcut->set_low_rank(Q.t(), up, dtype_);
    return at::eye(k, S.options()) + Q.mm(up.t());
  }

  /// Diagonal pairing: P_aᵀ P_b = U Σ Vᵀ, P_a ← P_a U, P_b ← P_b V, S = Σ. The readers, the stream
  /// and what writes into site a turn with it.
  Tensor pair(int64_t site, Tensor& P_next, Moments& fit, Moments& held) {
    const Tensor S = P_.t().mm(P_next), R = polar_factor(S);
    const ops::Eigen eigen = ops::symmetric_eigen(S.mm(R.t()));  // U Σ Uᵀ
    const Tensor U = eigen.vectors.contiguous();
    Sublayer& s = model_.sublayers[site - 1];
    rotate_readers(s, U);
    x_.project(U);
    if (!trial_) turn_what_writes(site - 1, U);
    if (site == 1) first_ = first_.mm(U);
    fit = fit.turned(U);
    if (held.tokens > 0) held = held.turned(U);
    P_ = P_.mm(U);
    P_next = P_next.mm(R.t().mm(U));
    s.shortcut->set_diagonal(eigen.values, dtype_);
    return at::diag(eigen.values);
  }

  /// What writes into a site already rewritten: the sublayer in front of it, or the embeddings.
  void turn_what_writes(int64_t site, const Tensor& U) {
    if (site == 0) return rotate_embeddings(model_, U);
    Sublayer& before = model_.sublayers[site - 1];
    rotate_writers(before, U);
    before.shortcut->set_dense(U.t().mm(before.shortcut->weight.to(at::kDouble)), dtype_);
  }

  /// P'ᵀ W,  P'ᵀ b
  static Writer rotated(const Writer& writer, const Tensor& P) {
    return {P.t().mm(writer.weight), writer.bias.defined() ? P.t().mv(writer.bias) : Tensor()};
  }

  /// Deletes what the plan deletes of the feed-forward networks in this sublayer; the other
  /// channels' least squares take over what they wrote.
  void drop_channels(Sublayer& s, int64_t site, Writer& writer, Moments& fit, Moments& held) {
    int64_t column = 0;
    for (Inner& part : s.inner) {
      const int64_t width = part.writer.weight.size(1);
      if (part.channels) {
        const int64_t network = networks_++;
        const int64_t keep = options_.ffn_sizes.empty() ? width : options_.ffn_sizes.at(network);
        report_.ffn_sizes.push_back(keep);
        if (keep < width) {
          const detail::Charge charge(report_.refit_seconds);
          narrow(part, site, column, width, keep, writer, fit, held);
        }
        column += keep;
      } else {
        column += width;
      }
    }
  }

  void narrow(Inner& part, int64_t site, int64_t column, int64_t width, int64_t keep,
              Writer& writer, Moments& fit, Moments& held) {
    const Tensor all = held.tokens > 0 ? fit.hh + held.hh : fit.hh;  // (F, F)
    const auto own = [&](const Tensor& X, int64_t dimension) {
      return X.slice(dimension, column, column + width);
    };
    const Tensor kept = keep_channels(own(own(all, 0), 1), own(writer.weight, 1), gamma(site), keep,
                                      kChannelRidge);  // (keep), of this network
    const auto index = at::TensorOptions(kept.device()).dtype(at::kLong);
    const Tensor stay =  // of everything that is written
        at::cat({at::arange(0, column, index), kept + column,
                 at::arange(column + width, all.size(0), index)});
    const Tensor rows = all.index_select(0, stay);  // (F', F)
    writer.weight =
        ridge_solve(rows.index_select(1, stay), rows.mm(writer.weight.t()), kChannelRidge).t();
    remove_channels(part, kept);
    hidden_.select(stay);
    fit = fit.with_channels(stay);
    if (held.tokens > 0) held = held.with_channels(stay);
  }

  /// What a head of its own reads behind a trial or the run: n = n̂ M diag(α) + β, or through the
  /// map of a tied one.
  Writer head_reader() {
    if (options_.keep_tie) {
      const Writer map = tie_map();
      return {first_.mm(map.weight), map.bias.defined() ? first_.mv(map.bias) : Tensor()};
    }
    return dense_reader();
  }

  /// n̂ ↦ n̂ M diag(α) + β: W (D, k), b (D).
  Writer dense_reader() {
    Tensor M = head_map();  // (k, D)
    const auto& norm = model_.final_norm;
    if (norm->weight.defined()) M = M * norm->weight.to(at::kDouble);
    return {M.t(), norm->bias.defined() ? norm->bias.to(at::kDouble) : Tensor()};
  }

  /// K of map_head: W (k_0, k_last), b (k_0).
  Writer tie_map() {
    const Writer read = dense_reader();
    const Tensor GP = gram_.mm(first_);  // (D, k_0)
    const Tensor A = first_.t().mm(GP);  // (k_0, k_0)
    const auto nearest = [&](const Tensor& X) {
      return ridge_solve(A.clone(), GP.t().mm(X), kTieRidge);
    };
    return {nearest(read.weight),
            read.bias.defined() ? nearest(read.bias.unsqueeze(1)).squeeze(1) : Tensor()};
  }

  /// M (k, D) of refit_head.
  Tensor head_map() {
    const double eps = model_.final_norm->eps();
    const auto see = [&](int64_t begin, int64_t end) -> Moments {
      if (begin == end) return {};
      MomentSums sums(x_.width(), 0, D_);
      x_.visit_beside(dense_, begin, end, [&](const Tensor& x, const Tensor& z) {
        const Tensor centred = layer_norm_ ? z - z.mean(-1, /*keepdim=*/true) : z;
        sums.accumulate(ops::rms_norm(x, D_, eps), x.slice(-1, 0, 0),
                        ops::rms_norm(centred, D_, eps));
      });
      return sums.moments();
    };
    const Moments fit = see(0, fit_windows_), held = see(fit_windows_, x_.windows());
    const Writer start = {P_, {}};  // n̂ ↦ n̂ Pᵀ: (D, k)
    return refit_writer(fit, held, start, {}, {}, /*both=*/!trial_).writer.weight.t();
  }

  ModelAdapter& model_;
  const SliceOptions& options_;
  const std::vector<Tensor>& gammas_;
  SliceReport& report_;
  const bool trial_;
  const int64_t D_, last_;
  const std::vector<int64_t> sizes_;
  const bool rotates_, layer_norm_;
  const ShortcutForm form_;
  const at::ScalarType dtype_;
  detail::Journal journal_;
  const int64_t fit_windows_;
  Stream x_, dense_;  // the sliced model's stream in basis P_, the dense one's in the original
  detail::HiddenSignal hidden_;
  Tensor first_, gram_;  // of a tied head: the embedding's basis (D, k_0), EᵀE (D, D)
  Tensor P_;             // (D, k) basis in front of the next sublayer
  OutputAwareBasis output_aware_;
  int64_t networks_ = 0;
};

void check_refit(const ModelAdapter& model, const Tensor& tokens, const SliceOptions& options,
                 bool trial) {
  Stream::check_tokens(tokens);
  check_options(options);
  check_adapter(model, !trial && options.rotates(model.hidden_size), options.keep_tie);
  if (options.ffn_sizes.empty()) return;
  std::vector<const Inner*> networks;
  for (const Sublayer& s : model.sublayers) {
    for (const Inner& part : s.inner)
      if (part.channels) networks.push_back(&part);
  }
  SLICE_CHECK(options.ffn_sizes.size() == networks.size(),
              "ffn sizes: want {}, one a feed-forward network, got {}", networks.size(),
              options.ffn_sizes.size());
  for (size_t i = 0; i < networks.size(); ++i) {
    const int64_t width = networks[i]->writer.weight.size(1), keep = options.ffn_sizes[i];
    SLICE_CHECK(keep >= 1 && keep <= width, "{}: want to keep 1 … {} channels, got {}",
                networks[i]->writer.name, width, keep);
  }
}

}  // namespace

Tensor gradient_windows(const Tensor& tokens, const SliceOptions& options) {
  return select_windows(tokens,
                        {.samples = options.gradient_samples.value_or((tokens.size(0) + 1) / 2)});
}

int64_t held_out_windows(int64_t n) { return n / 8; }

void check_trial_windows(const Tensor& tokens) {
  SLICE_CHECK(held_out_windows(tokens.size(0)) > 0, "trial: want at least eight windows, got {}",
              tokens.size(0));
}

SliceReport refit_model(ModelAdapter& model, const Tensor& tokens, const SliceOptions& options,
                        const OnProgress& on_progress, std::vector<Tensor> gammas) {
  const at::NoGradGuard no_grad;
  check_refit(model, tokens, options, /*trial=*/false);
  SliceReport report;
  const detail::Stopwatch total;
  if (gammas.empty()) {
    const detail::Charge charge(report.gradient_seconds);
    gammas =
        gradient_covariances(model, gradient_windows(tokens, options), options.seed, on_progress);
  }
  Refitter refitter(model, tokens, options, gammas, report, on_progress, /*trial=*/false);
  refitter.run();
  if (refitter.rotates()) {
    if (options.keep_tie) {
      refitter.map_head();
    } else {
      refitter.refit_head();
    }
  }
  report.method = "refit";
  report.seed = options.seed;
  report.shortcut = shortcut_name(options.shortcut_form());
  report.total_seconds = total.seconds();
  report.peak_host_bytes = peak_host_bytes();
  report.peak_device_bytes = peak_device_bytes(model.head.weight.device());
  return report;
}

double refit_trial(ModelAdapter& model, const Tensor& tokens, const SliceOptions& options,
                   const std::vector<Tensor>& gammas) {
  const at::NoGradGuard no_grad;
  check_refit(model, tokens, options, /*trial=*/true);
  check_trial_windows(tokens);
  SliceReport report;
  Refitter refitter(model, tokens, options, gammas, report, {}, /*trial=*/true);
  refitter.run();
  return refitter.held_out_loss(tokens);
}

}  // namespace slice
