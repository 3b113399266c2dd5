#include "libslice/slicing/detail/refitter.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

#include "libslice/base/detail/finite.h"
#include "libslice/base/detail/formatted.h"
#include "libslice/base/detail/stopwatch.h"
#include "libslice/base/error.h"
#include "libslice/method/covariance.h"
#include "libslice/method/fuse.h"
#include "libslice/method/joint_writer.h"
#include "libslice/method/rotate.h"
#include "libslice/slicing/detail/snapshot.h"

namespace slice::detail {

using at::Tensor;

namespace {

constexpr int64_t kEmbeddingRows = 4096;  // of float64 copies

std::vector<double> token_weights(const CalibrationWindows& windows) {
  std::vector<double> weights;
  for (int64_t text = 0; text < std::ssize(windows.texts()); ++text)
    weights.push_back(windows.token_weight(text));
  return weights;
}

}  // namespace

Refitter::Refitter(ModelAdapter& model, const CalibrationWindows& windows,
                   const SliceOptions& options, const std::vector<Tensor>& gammas,
                   SliceReport& report, const OnProgress& on_progress, bool trial,
                   const LayerHooks& hooks, const ProcessGroup& group)
    : model_(model),
      options_(options),
      gammas_(gammas),
      report_(report),
      trial_(trial),
      hooks_(hooks),
      group_(group),
      D_(model.hidden_size),
      last_(static_cast<int64_t>(model.sublayers.size())),
      sizes_(plan_stream_sizes(D_, last_ + 1, options)),
      rotates_(sizes_[0] < D_),
      layer_norm_(model.final_norm->kind() == NormKind::kLayer),
      form_(options.shortcut_form()),
      dtype_(model.head.weight.scalar_type()),
      parts_(windows, group),
      weights_(token_weights(windows)),
      reporter_(report, on_progress, passes() * last_, parts_.tokens.numel(), last_ + 1),
      x_(first_sliced_signal()),
      dense_(first_dense_signal()),
      hidden_(parts_.summed) {
  describe_run(report, model, windows, sizes_);
  for (const Signal* signal : {&x_, &dense_})
    reporter_.signal_lives(*signal, options.signal_place.has_value());
}

void Refitter::run() {
  int64_t site = resume();
  if (site == 0) slice_embeddings();
  for (site = std::max<int64_t>(site, 1); site <= last_; ++site) {
    hooks_.entered(site);
    if (trial_) {
      const Snapshot before(model_.sublayers[site - 1]);  // restores it
      slice_sublayer(site);
    } else {
      slice_sublayer(site);
    }
    if (site < last_) save_state(site + 1);
  }
  hooks_.entered(last_ + 1);
  if (trial_) {
    score_dense();
    score_sliced();
  } else {
    slice_head();
  }
  report_.chunk_tokens = x_.chunk_tokens();
}

void Refitter::slice_embeddings() {
  if (!rotates_) {
    reporter_.site_done(site_name(0), D_, 1.0);
    return hooks_.left(0);
  }
  Covariance embedded(D_);
  {
    const Charge charge(report_.calibrate_seconds, model_.head.weight.device());
    for (const auto* parts : {&parts_.fit, &parts_.choose}) {
      for (const WindowPart& part : *parts) {
        embedded.set_weight(weights_[part.text]);
        visit(part, [&](const Tensor& z, const Tensor&) { embedded.accumulate(z); });
      }
    }
  }
  P_ = basis(embedded.matrix(group_), 0);
  first_ = P_;
  if (options_.keep_tie) {
    E_ = model_.head.weight.variable_data();  // stays when the embedding is rotated
    G_ = at::zeros({D_, D_}, P_.options());
    for (const Tensor& rows : model_.head.weight.split(kEmbeddingRows)) {  // not rotated yet
      const Tensor E = rows.to(at::kDouble);                               // (n, D)
      G_.addmm_(E.t(), E);
    }
  }
  if (!trial_) rotate_embeddings(model_, P_, group_);
  hooks_.left(0);
  x_.project(P_);
}

void Refitter::slice_sublayer(int64_t site) {
  Sublayer& s = model_.sublayers[site - 1];
  forward_dense(site);
  if (rotates_) {
    const Charge charge(report_.rewrite_seconds);
    rotate_readers(s, P_, group_);  // W_in ← W_in diag(α) P
  }
  const Tensor P_next = s.mixes() ? slice_mixture(site) : refit_writers(site);
  forward_sliced(site);  // x̂' = x̂ S + h W'ᵀ
  hidden_.forget();
  hooks_.left(site);
  P_ = P_next;
}

Tensor Refitter::refit_writers(int64_t site) {
  Sublayer& s = model_.sublayers[site - 1];
  SplitMoments moments = observe(site);
  Writer writer = output_.scaled(writer_of(s));
  drop_channels(s, site, writer, moments);

  Tensor P_next, S;  // undefined: the original basis, and the identity
  if (rotates_) {
    P_next = next_basis(site, signal_covariance(moments.all(), P_, writer.weight, writer.bias));
    S = named(s.name, [&] { return gauge(site, P_next, moments); });
    writer = rotated(writer, P_next);
  } else {
    reporter_.site_done(site_name(site), D_, 1.0);
  }
  Refit refit;
  {
    const Charge charge(report_.refit_seconds);
    refit = named(s.name, [&] { return refit_writer(moments, writer, P_next, S); });
    store(s, refit.writer, writer);
  }
  if (trains()) recover(site, std::move(moments), writer, refit, P_next, S);
  return P_next;
}

void Refitter::slice_head() {
  score_dense();
  if (rotates_ && options_.keep_tie) {
    map_head();
  } else if (rotates_) {
    refit_head();
  }
  score_sliced();
  hooks_.left(last_ + 1);
}

void Refitter::forward_dense(int64_t site) {
  const Charge charge(report_.calibrate_seconds, model_.head.weight.device());
  const Tf32Scope tf32(options_.tf32);
  const Sublayer& s = model_.sublayers[site - 1];
  output_ = OutputNorm(s.out_norm, dense_.windows());
  int64_t window = 0;
  dense_.transform([&](const Tensor& z) {
    const Tensor o = s.output(z), next = s.after(z, o);
    output_.see(window, o);
    window += z.size(0);  // only now: what is above may run out of memory and be tried again
    return counted(next);
  });
  output_.finish(parts_.summed, group_);
}

void Refitter::forward_sliced(int64_t site) {
  const Charge charge(report_.calibrate_seconds, model_.head.weight.device());
  const Tf32Scope tf32(options_.tf32);
  const Sublayer& s = model_.sublayers[site - 1];
  int64_t window = 0;
  x_.transform([&](const Tensor& x) {
    const Tensor out =
        s.mixes() ? s.shortcut->forward(x, s.written(x)) : written(s, hidden_.of(window, s, x), x);
    window += x.size(0);  // only now, as above
    return counted(out);
  });
}

Tensor Refitter::counted(const Tensor& z) {
  reporter_.chunk_done(z.size(0) * z.size(1));
  return z;
}

std::string Refitter::site_name(int64_t site) const {
  return site < last_ ? model_.sublayers[site].name : "head";
}

SplitMoments Refitter::observe(int64_t site) {
  const Charge charge(report_.calibrate_seconds, model_.head.weight.device());
  const Sublayer& s = model_.sublayers[site - 1];
  const int64_t F = hidden_width(s);
  const auto see = [&](MomentSums& sums, const Tensor& x, const Tensor& z, int64_t window) {
    if (x.size(0) == 0) return sums.accumulate(x.new_empty({0, F}), x, z);
    const Tensor h = [&] {  // (n, T, F)
      const Tf32Scope tf32(options_.tf32);
      return hidden_of(s, x);
    }();
    hidden_.keep(window, h);
    sums.accumulate(h, x, z, output_.scale(window, window + x.size(0)));
    counted(x);
  };
  SplitMoments moments =
      named("signal before " + site_name(site), [&] { return summed(F, x_.width(), see); });
  reporter_.chunk_done((x_.windows() - parts_.summed) * x_.window_tokens());  // not looked at
  return moments;
}

SplitMoments Refitter::summed(int64_t F, int64_t k, const Add& see) {
  const auto add = [&](MomentSums& sums, const WindowPart& part) {
    sums.set_weight(weights_[part.text]);
    int64_t window = part.begin;
    visit(part, [&](const Tensor& x, const Tensor& z) {
      see(sums, x, z, window);
      window += x.size(0);
    });
  };
  SplitMoments moments;
  {
    MomentSums sums(F, k, D_);
    for (const WindowPart& part : parts_.fit) add(sums, part);
    moments.fit = sums.moments(group_);
  }
  for (const WindowPart& part : parts_.choose) {
    MomentSums sums(F, k, D_);
    add(sums, part);
    moments.choose.push_back(sums.moments(group_));
  }
  return moments;
}

void Refitter::visit(const WindowPart& part, const See& see) {
  if (part.begin < part.end) return x_.visit_beside(dense_, part.begin, part.end, see);
  const auto options = model_.head.weight.options();
  see(at::empty({0, x_.width()}, options), at::empty({0, D_}, options));
}

Tensor Refitter::gamma(int64_t site) const {
  return gammas_.empty() ? Tensor() : gammas_[site].to(model_.head.weight.device());
}

Tensor Refitter::basis(Tensor C, int64_t site) {
  const Charge charge(report_.eigen_seconds);
  check_finite(C, "signal before " + site_name(site));
  if (layer_norm_) C = centred_columns(centred_rows(C));
  Tensor P = named("signal before " + site_name(site),
                   [&] { return output_aware_(C, gamma(site), sizes_[site]); });
  group_.copy_from_inplace(0, P);
  const Tensor variances = P.t().mm(C.mm(P)).diagonal();  // (k)
  const double kept = variances.sum().item<double>(), all = C.diagonal().sum().item<double>();
  reporter_.site_done(site_name(site), sizes_[site], all > 0 ? kept / all : 1.0,
                      all > 0 ? variances / all : Tensor());
  return layer_norm_ ? centred_columns(P) : P;
}

Tensor Refitter::next_basis(int64_t site, const Tensor& C) {
  if (sizes_[site] < D_) return basis(C, site);
  reporter_.site_done(site_name(site), D_, 1.0);
  if (form_ == ShortcutForm::kDense) {
    const Tensor I = at::eye(D_, P_.options());
    return layer_norm_ ? centred_rows(I) : I;
  }
  Tensor whole = extended_basis(P_);
  group_.copy_from_inplace(0, whole);
  return layer_norm_ ? centred_columns(whole) : whole;
}

void Refitter::store(Sublayer& s, Writer writer, const Writer& start) const {
  agree(writer);
  set_writer(s, output_.unscaled(std::move(writer), start));
}

Writer Refitter::rotated(const Writer& writer, const Tensor& P) {
  return {P.t().mm(writer.weight), writer.bias.defined() ? P.t().mv(writer.bias) : Tensor()};
}

}  // namespace slice::detail
