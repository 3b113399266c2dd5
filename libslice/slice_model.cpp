#include "libslice/slice_model.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "libslice/adapter.h"
#include "libslice/covariance.h"
#include "libslice/decoder.h"
#include "libslice/detail/check.h"
#include "libslice/detail/memory.h"
#include "libslice/detail/sha256.h"
#include "libslice/detail/stopwatch.h"
#include "libslice/detail/tensor_text.h"
#include "libslice/device.h"
#include "libslice/fuse.h"
#include "libslice/model.h"
#include "libslice/pca.h"
#include "libslice/rotate.h"
#include "libslice/stream.h"

namespace slice {

using at::Tensor;
using detail::Stopwatch;

namespace {

/// Tells the caller where the loop is, and counts its seconds.
class Journal {
 public:
  Journal(SliceReport& report, const OnProgress& on_progress, int64_t steps, int64_t tokens)
      : report_(report), on_progress_(on_progress), steps_(steps), tokens_(tokens) {}

  void chunk_done(int64_t chunk_tokens) {
    passed_ += chunk_tokens;
    if (!on_progress_) return;
    const double seconds = clock_.seconds(),
                 done = static_cast<double>(passed_) / (tokens_ * steps_);
    on_progress_({.phase = "slice",
                  .step = static_cast<int64_t>(report_.sites.size()),
                  .steps = steps_,
                  .kept_variance = report_.sites.empty() ? 0 : report_.sites.back().kept_variance,
                  .tokens_per_second = seconds > 0 ? static_cast<double>(passed_) / seconds : 0,
                  .seconds = seconds,
                  .eta = done > 0 ? seconds * (1 - done) / done : 0});
  }

  void note(const std::string& words) {
    if (on_progress_)
      on_progress_({.phase = "slice",
                    .step = static_cast<int64_t>(report_.sites.size()),
                    .steps = steps_,
                    .seconds = clock_.seconds(),
                    .note = words});
  }

  void site_done(const std::string& name, int64_t k, double kept_variance) {
    const double now = clock_.seconds();
    report_.sites.push_back(
        {static_cast<int64_t>(report_.sites.size()), name, k, kept_variance, now - last_});
    last_ = now;
    detail::release_free_memory();
  }

 private:
  SliceReport& report_;
  const OnProgress& on_progress_;
  int64_t steps_, tokens_, passed_ = 0;
  Stopwatch clock_;
  double last_ = 0;
};

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

/// Tokens that may pass a sublayer together on a device: half of what is free for the activations
/// of the widest sublayer, counted generously. More than kMost gain nothing.
int64_t fitting_chunk_tokens(const ModelAdapter& model) {
  constexpr int64_t kMost = 32768;
  const at::Device device = model.head.weight.device();
  if (!device.is_cuda()) return kHostChunkTokens;
  int64_t widest = 0;
  for (const Sublayer& s : model.sublayers) {
    int64_t width = 0;
    for (const Inner& part : s.inner) {
      for (const LinearRef& reader : part.readers) width += reader.weight.size(0);
      width += part.writer.weight.size(1);
    }
    widest = std::max(widest, width);
  }
  const int64_t token_bytes =
      (2 * widest + 6 * model.hidden_size) * std::max<int64_t>(4, model.head.weight.element_size());
  return std::min(kMost, device_memory(device).free / 2 / token_bytes);
}

at::Device device_of(const ModelAdapter& model) {
  return model.head.weight.defined() ? model.head.weight.device() : at::Device(at::kCPU);
}

SliceReport slice_sublayers(ModelAdapter& model, const Tensor& tokens, const SliceOptions& options,
                            const OnProgress& on_progress) {
  const int64_t D = model.hidden_size;
  const int64_t last = static_cast<int64_t>(model.sublayers.size());
  const std::vector<int64_t> sizes = plan_stream_sizes(D, last + 1, options);
  const bool head_kept = sizes[last] == D;  // then nothing needs the last sublayer's output
  const at::ScalarType dtype = model.head.weight.scalar_type();
  SliceReport report;
  report.hidden_size = D;
  report.stream_sizes = sizes;
  report.calibration_tokens = tokens.numel();
  report.calibration_sequences = tokens.size(0);
  report.calibration_context = tokens.size(1);
  report.calibration_sha256 = detail::sha256(tokens);
  report.dtype = detail::dtype_name(dtype);
  report.device = model.head.weight.device().str();
  Journal journal(report, on_progress, head_kept ? last - 1 : last, tokens.numel());
  const Stopwatch total;
  Stream x(tokens, options.chunk_tokens > 0 ? options.chunk_tokens : kHostChunkTokens, model.embed,
           [&](int64_t chunk) {
             journal.note(fmt::format("{} is short of memory: going on in chunks of {} tokens",
                                      report.device, chunk));
           });  // refuses bad tokens before anything is written
  if (options.chunk_tokens <= 0) x.set_chunk_tokens(fitting_chunk_tokens(model));
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
    const Tensor P = pca.leading(sizes[site]);  // (D, k)
    return layer_norm ? centred_columns(P) : P;
  };

  // Embeddings: the first site.                                                      E ← E P,  x̂ =
  // z P
  Tensor C;
  {
    const detail::Charge charge(report.calibrate_seconds);
    Covariance embedded(D);
    x.visit([&](const Tensor& z) { embedded.accumulate(z); });
    C = matrix_of(embedded, site_name(0));
  }
  Tensor P = basis(C, 0);
  rotate_embeddings(model, P);
  x.project(P);

  for (int64_t site = 1; site <= last; ++site) {
    Sublayer& s = model.sublayers[site - 1];
    {
      const detail::Charge charge(report.rewrite_seconds);
      rotate_readers(s, P);  // W_in ← W_in diag(α) P
      s.shortcut->set_dense(
          P, dtype);  // until the next basis is known, the shortcut leads back to the original one
    }
    if (site == last && head_kept) {  // it keeps the original basis: S = Pᵀ stays
      journal.site_done(site_name(site), D, 1.0);
      if (layer_norm) rotate_writers(s, centred_rows(at::eye(D, P.options())));  // W_out ← M W_out
      rotate_head(model, Tensor());
      model.final_norm->drop_weights();  // the norms of a sliced model have none
      break;
    }
    {
      const detail::Charge charge(report.calibrate_seconds);
      Covariance behind(D);
      const TapHandle handle =
          s.tap->attach([&](const Tensor& z) { behind.accumulate(z); });  // C = zᵀ z
      x.transform([&](const Tensor& chunk) {
        const Tensor z = s.forward(chunk);  // z = x̂ Pᵀ + Σ h Wᵀ + b    (n, T, D)
        journal.chunk_done(chunk.size(0) * chunk.size(1));
        return z;
      });
      C = matrix_of(behind, site_name(site));  // waits for the device
    }
    const Tensor P_next = basis(C, site);
    const detail::Charge charge(report.rewrite_seconds);
    rotate_writers(s, P_next);                       // W_out ← P'ᵀ W_out,  b ← P'ᵀ b
    s.shortcut->set_dense(P_next.t().mm(P), dtype);  // S = Pᵀ P', stored as Sᵀ
    if (site == last) {
      rotate_head(model, P_next);  // W_head ← W_head diag(α) P'
    } else {
      x.project(P_next);  // x̂' = z P'
    }
    P = P_next;
  }
  report.total_seconds = total.seconds();
  report.chunk_tokens = x.chunk_tokens();
  report.peak_host_bytes = peak_host_bytes();
  report.peak_device_bytes = peak_device_bytes(model.head.weight.device());
  return report;
}

}  // namespace

SliceReport slice_model(ModelAdapter& model, const Tensor& tokens, const SliceOptions& options,
                        const OnProgress& on_progress) {
  const at::NoGradGuard no_grad;
  Stream::check_tokens(tokens);
  SliceReport report;
  detail::name_memory("slicing", device_of(model), [&] {
    check_adapter(model);
    report = slice_sublayers(model, tokens, options, on_progress);
  });
  return report;
}

SliceReport slice_model(Model& model, const Tensor& tokens, const SliceOptions& options,
                        const OnProgress& on_progress) {
  DecoderImpl& decoder = model.decoder();
  const ModelConfig dense = decoder.config();
  SLICE_CHECK(!dense.sliced(), "this model was sliced before: slice the dense model instead");
  kept_size(dense.hidden_size, options.slice, options.round);  // refuses before anything changes
  detail::name_memory("a head of its own", decoder.device(), [&] { decoder.prepare_head(); });
  ModelAdapter adapter = decoder.adapter();
  SliceReport report = slice_model(adapter, tokens, options, on_progress);
  decoder.set_sliced(report.stream_sizes);

  report.family = dense.family;
  report.layers = dense.layers;
  report.ffn_sizes.assign(dense.layers, dense.ffn_size);
  report.head_counts.assign(dense.layers, dense.heads);
  report.before = count_parameters(dense);
  report.after = count_parameters(decoder.config());
  return report;
}

}  // namespace slice
