#include "libslice/slicing/slice_model.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/stopwatch.h"
#include "libslice/checkpoint/model.h"
#include "libslice/device/detail/memory.h"
#include "libslice/device/device.h"
#include "libslice/method/covariance.h"
#include "libslice/method/fuse.h"
#include "libslice/method/pass_memory.h"
#include "libslice/method/pca.h"
#include "libslice/method/rotate.h"
#include "libslice/method/signal.h"
#include "libslice/method/window_share.h"
#include "libslice/model/adapter.h"
#include "libslice/model/decoder.h"
#include "libslice/slicing/detail/progress_reporter.h"
#include "libslice/slicing/detail/refit_model.h"
#include "libslice/slicing/detail/resume_journal.h"
#include "libslice/slicing/detail/slice_sublayers.h"
#include "libslice/slicing/detail/slicer.h"
#include "libslice/slicing/search.h"

namespace slice {

using at::Tensor;

namespace {

/// The principal directions of a site.
PcaBasis directions(const Tensor& C, const std::string& site) {
  PcaBasis pca;
  detail::name_memory("the eigenproblem in front of " + site, C.device(),
                      [&] { pca = pca_basis(C); });
  return pca;
}

at::Device device_of(const ModelAdapter& model) {
  return model.head.weight.defined() ? model.head.weight.device() : at::Device(at::kCPU);
}

}  // namespace

namespace detail {

Slicer::Slicer(ModelAdapter& model, const Tensor& tokens, const SliceOptions& options,
               SliceReport& report, const OnProgress& on_progress, const LayerHooks& passage,
               const ProcessGroup& group)
    : model_(model),
      options_(options),
      report_(report),
      passage_(passage),
      group_(group),
      D_(model.hidden_size),
      last_(static_cast<int64_t>(model.sublayers.size())),
      sizes_(plan_stream_sizes(D_, last_ + 1, options)),
      layer_norm_(model.final_norm->kind() == NormKind::kLayer),
      tokens_(share_of_windows(tokens, group)),
      journal_(report, on_progress, keeps(last_) ? last_ - 1 : last_, tokens_.numel()) {
  describe_run(report, model, tokens, sizes_);
}

void Slicer::run() {
  int64_t site = resume();
  if (site == 0) slice_embeddings();
  for (site = std::max<int64_t>(site, 1); site <= last_; ++site) slice_sublayer(site);
  slice_head();
  report_.chunk_tokens = x_->chunk_tokens();
}

void Slicer::slice_embeddings() {
  passage_.entered(0);
  embed_tokens();
  Tensor C;
  {
    const Charge charge(report_.calibrate_seconds);
    Covariance embedded(D_);
    x_->visit([&](const Tensor& z) { embedded.accumulate(z); });
    C = covariance(embedded, 0);
  }
  P_ = basis(C, 0);
  {
    const Charge charge(report_.rewrite_seconds, P_.device());
    rotate_embeddings(model_, P_, group_);  // E ← E P
  }
  passage_.left(0);
  project(P_);  // x̂ = z P
}

void Slicer::slice_sublayer(int64_t site) {
  Sublayer& s = model_.sublayers[site - 1];
  read_rotated(site);  // W_in ← W_in diag(α) P,  S = Pᵀ
  if (keeps(site)) {   // the original basis: nothing needs this sublayer's output
    {
      const Charge charge(report_.rewrite_seconds, P_.device());
      journal_.site_done(site_name(site), D_, 1.0);
      if (layer_norm_)
        rotate_writers(s, centred_rows(at::eye(D_, P_.options())), group_);  // W_out ← M W_out
    }
    passage_.left(site);
    P_ = Tensor();
    return;
  }
  Tensor C;
  {
    const Charge charge(report_.calibrate_seconds);
    Covariance behind(D_);
    const TapHandle handle =
        s.tap->attach([&](const Tensor& z) { behind.accumulate(z); });  // C = zᵀ z
    pass(site);                    // z = x̂ Pᵀ + Σ h Wᵀ + b
    C = covariance(behind, site);  // waits for the device
  }
  const Tensor P_next = basis(C, site);
  {
    const Charge charge(report_.rewrite_seconds, P_.device());
    rotate_writers(s, P_next, group_);  // W_out ← P'ᵀ W_out
    s.shortcut->set_dense(P_next.t().mm(P_), model_.head.weight.scalar_type());  // S = Pᵀ P'
  }
  passage_.left(site);
  P_ = P_next;
  if (site == last_) return;
  project(P_);  // x̂' = z P'
  rest(site + 1);
}

void Slicer::slice_head() {
  passage_.entered(last_ + 1);
  {
    const Charge charge(report_.rewrite_seconds, model_.head.weight.device());
    rotate_head(model_, P_, group_);    // W_head ← W_head diag(α) P
    model_.final_norm->drop_weights();  // the norms of a sliced model have none
  }
  passage_.left(last_ + 1);
}

void Slicer::embed_tokens() {
  const int64_t chunk = options_.chunk_tokens > 0 ? options_.chunk_tokens : kHostChunkTokens;
  x_.emplace(tokens_, chunk, model_.embed, signal_options());
  journal_.signal_lives(*x_, options_.signal_place.has_value());
  if (options_.chunk_tokens <= 0) x_->set_chunk_tokens(fitting_chunk_tokens(model_));
}

SignalOptions Slicer::signal_options() {
  return {.on_smaller_chunks = [this](int64_t less) { journal_.note_smaller_chunks(less); },
          .beside_bytes = pass_bytes(pass_sizes(model_, Method::kSliceGpt), tokens_.size(1)),
          .place = options_.signal_place,
          .processes = group_.size(),
          .scratch = passage_.scratch};
}

void Slicer::read_rotated(int64_t site) {
  passage_.entered(site);
  Sublayer& s = model_.sublayers[site - 1];
  const Charge charge(report_.rewrite_seconds);
  rotate_readers(s, P_, group_);
  s.shortcut->set_dense(P_, model_.head.weight.scalar_type());  // back to the original basis
}

void Slicer::pass(int64_t site) {
  x_->transform([&](const Tensor& chunk) {
    const Tensor z = model_.sublayers[site - 1].forward(chunk);  // (n, T, D)
    journal_.chunk_done(chunk.size(0) * chunk.size(1));
    return z;
  });
}

void Slicer::project(const Tensor& P) {
  const Charge charge(report_.calibrate_seconds, P.device());
  x_->project(P);
}

void Slicer::rest(int64_t part) {
  if (!passage_.rest) return;
  const std::string words = passage_.rest(part, *x_, P_);
  if (!words.empty()) journal_.note(words);
}

Tensor Slicer::basis(Tensor C, int64_t site) {
  const Charge charge(report_.eigen_seconds);
  if (layer_norm_) C = centred_columns(centred_rows(C));
  const PcaBasis pca = directions(C, site_name(site));
  journal_.site_done(site_name(site), sizes_[site], pca.kept_variance(sizes_[site]));
  Tensor P = pca.leading(sizes_[site]);  // (D, k)
  group_.copy_from_inplace(0, P);        // two solvers may turn it otherwise
  if (layer_norm_) P = centred_columns(P);
  if (passage_.record != nullptr) {
    const SiteReport& done = report_.sites.back();
    passage_.record->found(site, {P, done.kept_variance, done.seconds, x_->chunk_tokens()});
  }
  return P;
}

Tensor Slicer::covariance(Covariance& signal, int64_t site) const {
  try {
    return signal.matrix(group_);
  } catch (const NumericError& error) {
    throw NumericError(fmt::format("signal in front of {}: {}", site_name(site), error.what()));
  }
}

std::string Slicer::site_name(int64_t site) const {
  return site < last_ ? model_.sublayers[site].name : "head";
}

}  // namespace detail

SliceReport detail::slice_sublayers(ModelAdapter& model, const Tensor& tokens,
                                    const SliceOptions& options, const OnProgress& on_progress,
                                    const LayerHooks& passage, const ProcessGroup& group) {
  SliceReport report;
  const Stopwatch total;
  Slicer(model, tokens, options, report, on_progress, passage, group).run();
  report.total_seconds = total.seconds();
  report.peak_host_bytes = peak_host_bytes();
  report.peak_device_bytes = peak_device_bytes(model.head.weight.device());
  return report;
}

namespace {

SliceReport run(ModelAdapter& model, const Tensor& tokens, const SliceOptions& options,
                const OnProgress& on_progress, const ProcessGroup& group,
                std::vector<Tensor> gammas) {
  const at::NoGradGuard no_grad;
  Signal::check_tokens(tokens);
  SliceReport report;
  detail::name_memory("slicing", device_of(model), [&] {
    check_options(options);
    if (options.method == Method::kRefit) {
      report = refit_model(model, tokens, options, on_progress, std::move(gammas), group);
    } else {
      check_adapter(model);
      report = detail::slice_sublayers(model, tokens, options, on_progress, {}, group);
    }
  });
  return report;
}

}  // namespace

SliceReport slice_model(ModelAdapter& model, const Tensor& tokens, const SliceOptions& options,
                        const OnProgress& on_progress, const ProcessGroup& group) {
  SLICE_CHECK(!options.budgeted(),
              "budgets count a configuration's parameters, which somebody's own modules lack");
  return run(model, tokens, options, on_progress, group, {});
}

SliceReport slice_model(Model& model, const Tensor& tokens, const SliceOptions& options,
                        const OnProgress& on_progress, const ProcessGroup& group) {
  DecoderImpl& decoder = model.decoder();
  const ModelConfig dense = decoder.config();
  SLICE_CHECK(!dense.sliced(), "this model was sliced before: slice the dense model instead");
  const detail::Stopwatch total;
  SearchResult search;
  search.options = options;
  if (options.budgeted()) {
    detail::name_memory("the search for a plan", decoder.device(),
                        [&] { search = search_plan(model, tokens, options, on_progress, group); });
  }
  const SliceOptions& plan = search.options;
  planned_config(dense, plan);  // refuses before anything changes
  const double search_seconds = total.seconds();
  const bool rotates = plan.rotates(dense.hidden_size);
  if (rotates && !plan.keep_tie)
    detail::name_memory("a head of its own", decoder.device(), [&] { decoder.prepare_head(); });
  ModelAdapter adapter = decoder.adapter();
  SliceReport report = run(adapter, tokens, plan, on_progress, group, std::move(search.gammas));
  report.candidates = std::move(search.tried);
  report.search_seconds = options.budgeted() ? search_seconds : 0;
  if (rotates)
    decoder.set_sliced(report.stream_sizes, plan.shortcut_form(),
                       planned_config(dense, plan).shortcut_rank);
  if (adapter.head_map.weight.defined())
    decoder.set_head_map(adapter.head_map.weight, adapter.head_map.bias);
  report.tied = decoder.config().tied_head;
  if (report.ffn_sizes.empty()) report.ffn_sizes.assign(dense.layers, dense.ffn_size);
  decoder.set_ffn_sizes(report.ffn_sizes);

  report.family = dense.family;
  report.layers = dense.layers;
  report.head_counts.assign(dense.layers, dense.heads);
  report.before = count_parameters(dense);
  report.after = count_parameters(decoder.config());
  return report;
}

}  // namespace slice
