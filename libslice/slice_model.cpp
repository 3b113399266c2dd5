#include "libslice/slice_model.h"

#include <ATen/ATen.h>

#include "libslice/adapter.h"
#include "libslice/covariance.h"
#include "libslice/decoder.h"
#include "libslice/detail/check.h"
#include "libslice/detail/journal.h"
#include "libslice/detail/memory.h"
#include "libslice/detail/slice_record.h"
#include "libslice/detail/slice_sublayers.h"
#include "libslice/detail/stopwatch.h"
#include "libslice/device.h"
#include "libslice/fuse.h"
#include "libslice/model.h"
#include "libslice/pca.h"
#include "libslice/refit_model.h"
#include "libslice/rotate.h"
#include "libslice/search.h"
#include "libslice/stream.h"

namespace slice {

using at::Tensor;

namespace {

/// The covariance of the signal in front of a site, whole; a signal that overflowed names the site.
Tensor matrix_of(Covariance& signal, const std::string& site) {
  try {
    return signal.matrix();
  } catch (const NumericError& error) {
    throw NumericError(fmt::format("signal in front of {}: {}", site, error.what()));
  }
}

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

SliceReport detail::slice_sublayers(ModelAdapter& model, const Tensor& tokens,
                                    const SliceOptions& options, const OnProgress& on_progress,
                                    const Passage& passage) {
  const int64_t D = model.hidden_size;
  const int64_t last = static_cast<int64_t>(model.sublayers.size());
  const std::vector<int64_t> sizes = plan_stream_sizes(D, last + 1, options);
  const bool head_kept = sizes[last] == D;  // then nothing needs the last sublayer's output
  const at::ScalarType dtype = model.head.weight.scalar_type();
  SliceReport report;
  detail::describe_run(report, model, tokens, sizes);
  detail::Journal journal(report, on_progress, head_kept ? last - 1 : last, tokens.numel());
  const detail::Stopwatch total;
  const auto enter = [&](int64_t part) {
    if (passage.enter) passage.enter(part);
  };
  const auto leave = [&](int64_t part) {
    if (passage.leave) passage.leave(part);
  };
  // What an earlier loop found is not looked for again: the signal passes with the bases it had.
  detail::SliceRecord* const record = passage.record;
  const auto known = [&](int64_t site) { return record != nullptr && record->knows(site); };
  const int64_t first = record == nullptr ? 0 : record->first_part();
  const auto smaller_chunks = [&](int64_t chunk) {
    journal.note(fmt::format("{} is short of memory: going on in chunks of {} tokens",
                             report.device, chunk));
  };
  if (known(0)) {
    const ResumeReport held = record->report();
    journal.begin_behind(std::max<int64_t>(first - 1, 0));
    journal.note(fmt::format("going on: {} of {} layers are on the disk, the signal in front of {}",
                             held.layers_found, held.layers,
                             first > 0 ? model.sublayers[first - 1].name : "the embeddings"));
  }
  if (first == 0) enter(0);
  Stream x =
      first > 0 ? record->restore(D, model.head.weight.options(), smaller_chunks)
                : Stream(tokens, options.chunk_tokens > 0 ? options.chunk_tokens : kHostChunkTokens,
                         model.embed, smaller_chunks);  // refuses bad tokens before anything is
                                                        // written
  if (first == 0 && options.chunk_tokens <= 0)
    x.set_chunk_tokens(detail::fitting_chunk_tokens(model));
  const auto site_name = [&](int64_t site) {
    return site < last ? model.sublayers[site].name : "head";
  };

  // The principal directions of a site, and the basis that keeps the k largest:
  //                                                                            C = Q Λ Qᵀ,  P = Q_k
  // A LayerNorm sees the stream without its mean, so only that is kept:  C ← M C M,  P ← M P. Then
  // everything that P rotates below is centred with it, and the norm is an RMSNorm. (mathematics
  // §2)
  const bool layer_norm = model.final_norm->kind() == NormKind::kLayer;
  const auto basis = [&](Tensor C, int64_t site) {
    const detail::Charge charge(report.eigen_seconds);
    if (layer_norm) C = centred_columns(centred_rows(C));
    const PcaBasis pca = directions(C, site_name(site));
    journal.site_done(site_name(site), sizes[site], pca.kept_variance(sizes[site]));
    Tensor P = pca.leading(sizes[site]);  // (D, k)
    if (layer_norm) P = centred_columns(P);
    if (record != nullptr)
      record->found(site, {P, report.sites.back().kept_variance, report.sites.back().seconds,
                           x.chunk_tokens()});
    return P;
  };
  const auto recalled = [&](int64_t site) {
    const detail::FoundSite found = record->recall(site, model.head.weight.device());
    journal.site_recalled(site_name(site), sizes[site], found.kept_variance, found.seconds);
    return found.basis;
  };

  Tensor P;
  for (int64_t site = 0; site < first; ++site) P = recalled(site);  // the last has its basis
  // Embeddings: the first site.                                                      E ← E P,  x̂ =
  // z P
  Tensor C;
  if (first == 0 && !known(0)) {
    const detail::Charge charge(report.calibrate_seconds);
    Covariance embedded(D);
    x.visit([&](const Tensor& z) { embedded.accumulate(z); });
    C = matrix_of(embedded, site_name(0));
  }
  if (first == 0) {
    if (known(0)) x.set_chunk_tokens(record->chunk_tokens(0));
    P = known(0) ? recalled(0) : basis(C, 0);
  }
  const auto project = [&](const Tensor& onto) {  // x̂ = z P
    const detail::Charge charge(report.calibrate_seconds, onto.device());
    x.project(onto);
  };
  if (first == 0) {
    if (!known(0)) {
      const detail::Charge charge(report.rewrite_seconds, P.device());
      rotate_embeddings(model, P);
    }
    leave(0);
    project(P);
  }

  for (int64_t site = std::max<int64_t>(first, 1); site <= last; ++site) {
    Sublayer& s = model.sublayers[site - 1];
    enter(site);
    {
      const detail::Charge charge(report.rewrite_seconds);
      rotate_readers(s, P);  // W_in ← W_in diag(α) P
      s.shortcut->set_dense(
          P, dtype);  // until the next basis is known, the shortcut leads back to the original one
    }
    if (site == last && head_kept) {  // it keeps the original basis: S = Pᵀ stays
      {
        const detail::Charge charge(report.rewrite_seconds, P.device());
        journal.site_done(site_name(site), D, 1.0);
        if (layer_norm)
          rotate_writers(s, centred_rows(at::eye(D, P.options())));  // W_out ← M W_out
      }
      leave(site);
      enter(last + 1);
      const detail::Charge charge(report.rewrite_seconds, P.device());
      rotate_head(model, Tensor());
      model.final_norm->drop_weights();  // the norms of a sliced model have none
      break;
    }
    {
      const detail::Charge charge(report.calibrate_seconds);
      Covariance behind(D);
      TapHandle handle;
      if (known(site)) {
        x.set_chunk_tokens(record->chunk_tokens(site));
      } else {
        handle = s.tap->attach([&](const Tensor& z) { behind.accumulate(z); });  // C = zᵀ z
      }
      x.transform([&](const Tensor& chunk) {
        const Tensor z = s.forward(chunk);  // z = x̂ Pᵀ + Σ h Wᵀ + b    (n, T, D)
        journal.chunk_done(chunk.size(0) * chunk.size(1));
        return z;
      });
      if (!known(site)) C = matrix_of(behind, site_name(site));  // waits for the device
    }
    const Tensor P_next = known(site) ? recalled(site) : basis(C, site);
    if (!known(site)) {
      const detail::Charge charge(report.rewrite_seconds, P.device());
      rotate_writers(s, P_next);                       // W_out ← P'ᵀ W_out,  b ← P'ᵀ b
      s.shortcut->set_dense(P_next.t().mm(P), dtype);  // S = Pᵀ P', stored as Sᵀ
    }
    leave(site);
    if (site == last) {
      enter(last + 1);
      const detail::Charge charge(report.rewrite_seconds, P.device());
      rotate_head(model, P_next);  // W_head ← W_head diag(α) P'
    }
    if (site < last) project(P_next);  // x̂' = z P'
    P = P_next;
    if (site < last && passage.rest) passage.rest(site + 1, x, P);
  }
  leave(last + 1);
  report.total_seconds = total.seconds();
  report.chunk_tokens = x.chunk_tokens();
  report.peak_host_bytes = peak_host_bytes();
  report.peak_device_bytes = peak_device_bytes(model.head.weight.device());
  return report;
}

namespace {

SliceReport run(ModelAdapter& model, const Tensor& tokens, const SliceOptions& options,
                const OnProgress& on_progress, std::vector<Tensor> gammas) {
  const at::NoGradGuard no_grad;
  Stream::check_tokens(tokens);
  SliceReport report;
  detail::name_memory("slicing", device_of(model), [&] {
    check_options(options);
    if (options.method == Method::kRefit) {
      report = refit_model(model, tokens, options, on_progress, std::move(gammas));
    } else {
      check_adapter(model);
      report = detail::slice_sublayers(model, tokens, options, on_progress);
    }
  });
  return report;
}

}  // namespace

SliceReport slice_model(ModelAdapter& model, const Tensor& tokens, const SliceOptions& options,
                        const OnProgress& on_progress) {
  SLICE_CHECK(!options.budgeted(),
              "budgets count a configuration's parameters, which somebody's own modules lack");
  return run(model, tokens, options, on_progress, {});
}

SliceReport slice_model(Model& model, const Tensor& tokens, const SliceOptions& options,
                        const OnProgress& on_progress) {
  DecoderImpl& decoder = model.decoder();
  const ModelConfig dense = decoder.config();
  SLICE_CHECK(!dense.sliced(), "this model was sliced before: slice the dense model instead");
  const detail::Stopwatch total;
  SearchResult search;
  search.options = options;
  if (options.budgeted()) {
    detail::name_memory("the search for a plan", decoder.device(),
                        [&] { search = search_plan(model, tokens, options, on_progress); });
  }
  const SliceOptions& plan = search.options;
  planned_config(dense, plan);  // refuses before anything changes
  const double search_seconds = total.seconds();
  const bool rotates = plan.rotates(dense.hidden_size);
  if (rotates && !plan.keep_tie)
    detail::name_memory("a head of its own", decoder.device(), [&] { decoder.prepare_head(); });
  ModelAdapter adapter = decoder.adapter();
  SliceReport report = run(adapter, tokens, plan, on_progress, std::move(search.gammas));
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
