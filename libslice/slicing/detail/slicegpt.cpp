#include "libslice/slicing/detail/slicegpt.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/formatted.h"
#include "libslice/base/detail/stopwatch.h"
#include "libslice/base/error.h"
#include "libslice/device/detail/memory.h"
#include "libslice/device/device.h"
#include "libslice/method/fuse.h"
#include "libslice/method/pca.h"
#include "libslice/method/rotate.h"
#include "libslice/method/window_share.h"
#include "libslice/method/working_memory.h"
#include "libslice/slicing/cost.h"
#include "libslice/slicing/detail/resume_journal.h"

namespace slice::detail {

using at::Tensor;

namespace {

/// The principal directions of a site.
PcaBasis directions(const Tensor& C, const std::string& site) {
  PcaBasis pca;
  try {
    name_memory("the eigenproblem before " + site, C.device(), [&] { pca = pca_basis(C); });
  } catch (const NumericError& error) {
    throw NumericError(formatted("signal before {}: {}", site, error.what()));
  }
  return pca;
}

}  // namespace

SliceGpt::SliceGpt(ModelAdapter& model, const CalibrationWindows& windows,
                   const SliceOptions& options, SliceReport& report, const OnProgress& on_progress,
                   const LayerHooks& hooks, const ProcessGroup& group)
    : model_(model),
      options_(options),
      report_(report),
      hooks_(hooks),
      group_(group),
      D_(model.hidden_size),
      last_(static_cast<int64_t>(model.sublayers.size())),
      sizes_(plan_stream_sizes(D_, last_ + 1, options)),
      layer_norm_(model.final_norm->kind() == NormKind::kLayer),
      tokens_(share_of_windows(windows.tokens(), group)),
      reporter_(report, on_progress, keeps(last_) ? last_ - 1 : last_, tokens_.numel()) {
  describe_run(report, model, windows, sizes_);
}

void SliceGpt::run() {
  int64_t site = resume();
  if (site == 0) slice_embeddings();
  for (site = std::max<int64_t>(site, 1); site <= last_; ++site) slice_sublayer(site);
  slice_head();
  report_.chunk_tokens = x_->chunk_tokens();
}

void SliceGpt::slice_embeddings() {
  hooks_.entered(0);
  embed_tokens();                          // z = E[tokens]
  const Tensor C = embedded_covariance();  // C = Σ zᵀ z
  P_ = basis(C, 0);                        // C = Q Λ Qᵀ,  P = Q_k
  write_embeddings(P_);                    // E ← E P
  hooks_.left(0);
  project(P_);  // x̂ = z P
}

void SliceGpt::slice_sublayer(int64_t site) {
  write_readers(site);                         // W_in ← W_in diag(α) P,  S = Pᵀ
  if (keeps(site)) return keep_writers(site);  // nothing needs this sublayer's output
  const Tensor C = forward_covariance(site);   // z = x̂ Pᵀ + Σ h W_outᵀ + b,  C = Σ zᵀ z
  const Tensor P_next = basis(C, site);        // C = Q Λ Qᵀ,  P' = Q_k
  write_writers(site, P_next);                 // W_out ← P'ᵀ W_out,  S = Pᵀ P'
  hooks_.left(site);
  P_ = P_next;
  if (site == last_) return;
  project(P_);  // x̂' = z P'
  save_signal(site + 1);
}

void SliceGpt::slice_head() {
  hooks_.entered(last_ + 1);
  write_head();  // W_head ← W_head diag(α) P
  hooks_.left(last_ + 1);
}

void SliceGpt::embed_tokens() {
  const int64_t chunk = options_.chunk_tokens > 0 ? options_.chunk_tokens : kHostChunkTokens;
  x_.emplace(tokens_, chunk, model_.embed, signal_options());
  reporter_.signal_lives(*x_, options_.signal_place.has_value());
  if (options_.chunk_tokens <= 0) x_->set_chunk_tokens(fitting_chunk_tokens(model_));
}

Tensor SliceGpt::embedded_covariance() {
  const Charge charge(report_.calibrate_seconds);
  Covariance embedded(D_);
  x_->visit([&](const Tensor& z) { embedded.accumulate(z); });
  return matrix(embedded, 0);
}

void SliceGpt::write_embeddings(const Tensor& P) {
  const Charge charge(report_.rewrite_seconds, P.device());
  rotate_embeddings(model_, P, group_);
}

void SliceGpt::write_readers(int64_t site) {
  hooks_.entered(site);
  Sublayer& s = model_.sublayers[site - 1];
  const Charge charge(report_.rewrite_seconds);
  rotate_readers(s, P_, group_);
  s.shortcut->set_dense(P_, model_.head.weight.scalar_type());
}

void SliceGpt::forward(int64_t site) {
  x_->transform([&](const Tensor& chunk) {
    const Tensor z = model_.sublayers[site - 1].forward(chunk);  // (n, T, D)
    reporter_.chunk_done(chunk.size(0) * chunk.size(1));
    return z;
  });
}

Tensor SliceGpt::forward_covariance(int64_t site) {
  const Charge charge(report_.calibrate_seconds);
  Covariance output(D_);
  const TapHandle handle =
      model_.sublayers[site - 1].tap->attach([&](const Tensor& z) { output.accumulate(z); });
  forward(site);
  return matrix(output, site);  // waits for the device
}

Tensor SliceGpt::basis(Tensor C, int64_t site) {
  const Charge charge(report_.eigen_seconds);
  if (layer_norm_) C = centred_columns(centred_rows(C));
  const PcaBasis pca = directions(C, site_name(site));
  const double all = pca.values.sum().item<double>();
  reporter_.site_done(site_name(site), sizes_[site], pca.kept_variance(sizes_[site]),
                      all > 0 ? pca.values / all : Tensor());
  Tensor P = pca.leading(sizes_[site]);  // (D, k)
  group_.copy_from_inplace(0, P);        // two solvers may turn it otherwise
  if (layer_norm_) P = centred_columns(P);
  if (hooks_.journal != nullptr) {
    const SiteReport& done = report_.sites.back();
    hooks_.journal->found(site, {P, done.kept_variance, done.seconds, x_->chunk_tokens()});
  }
  return P;
}

void SliceGpt::write_writers(int64_t site, const Tensor& P_next) {
  const Charge charge(report_.rewrite_seconds, P_.device());
  Sublayer& s = model_.sublayers[site - 1];
  rotate_writers(s, P_next, group_);
  s.shortcut->set_dense(P_next.t().mm(P_), model_.head.weight.scalar_type());
}

void SliceGpt::keep_writers(int64_t site) {
  {
    const Charge charge(report_.rewrite_seconds, P_.device());
    reporter_.site_done(site_name(site), D_, 1.0);
    if (layer_norm_) {  // W_out ← M W_out
      rotate_writers(model_.sublayers[site - 1], centred_rows(at::eye(D_, P_.options())), group_);
    }
  }
  hooks_.left(site);
  P_ = Tensor();
}

void SliceGpt::project(const Tensor& P) {
  const Charge charge(report_.calibrate_seconds, P.device());
  x_->project(P);
}

void SliceGpt::write_head() {
  const Charge charge(report_.rewrite_seconds, model_.head.weight.device());
  rotate_head(model_, P_, group_);
  model_.final_norm->drop_weights();  // the norms of a sliced model have none
}

void SliceGpt::save_signal(int64_t part) {
  if (!hooks_.save) return;
  const std::string words = hooks_.save(part, {.signals = {{"signal", &*x_}}, .P = P_});
  if (!words.empty()) reporter_.note(words);
}

SignalOptions SliceGpt::signal_options() {
  return {.on_smaller_chunks = [this](int64_t less) { reporter_.note_smaller_chunks(less); },
          .working_bytes = working_bytes(working_sizes(model_, Method::kSliceGpt), tokens_.size(1)),
          .place = options_.signal_place,
          .processes = group_.size(),
          .scratch = hooks_.scratch};
}

Tensor SliceGpt::matrix(Covariance& signal, int64_t site) const {
  try {
    return signal.matrix(group_);
  } catch (const NumericError& error) {
    throw NumericError(formatted("signal before {}: {}", site_name(site), error.what()));
  }
}

std::string SliceGpt::site_name(int64_t site) const {
  return site < last_ ? model_.sublayers[site].name : "head";
}

SliceReport slice_sublayers(ModelAdapter& model, const CalibrationWindows& windows,
                            const SliceOptions& options, const OnProgress& on_progress,
                            const LayerHooks& hooks, const ProcessGroup& group) {
  for (const CalibrationText& text : windows.texts())
    SLICE_ARGUMENT_CHECK(text.weight == 0, "method slicegpt: every window counts the same");
  SliceReport report;
  const Stopwatch total;
  SliceGpt(model, windows, options, report, on_progress, hooks, group).run();
  report.total_seconds = total.seconds();
  report.peak_host_bytes = peak_host_bytes();
  report.peak_device_bytes = peak_device_bytes(model.head.weight.device());
  return report;
}

}  // namespace slice::detail
