#include "libslice/slicing/detail/refit_model.h"

#include <ATen/ATen.h>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/stopwatch.h"
#include "libslice/device/device.h"
#include "libslice/method/gradient.h"
#include "libslice/method/signal.h"
#include "libslice/slicing/detail/refitter.h"
#include "libslice/text/calibration.h"

namespace slice {

using at::Tensor;

namespace {

void check_refit(const ModelAdapter& model, const Tensor& tokens, const SliceOptions& options,
                 bool trial) {
  Signal::check_tokens(tokens);
  check_options(options);
  check_adapter(model, !trial && options.rotates(model.hidden_size), options.keep_tie);
  if (options.ffn_sizes.empty()) return;
  std::vector<const Branch*> networks;
  for (const Sublayer& s : model.sublayers) {
    for (const Branch& branch : s.branches)
      if (branch.channels) networks.push_back(&branch);
  }
  SLICE_ARGUMENT_CHECK(options.ffn_sizes.size() == networks.size(),
                       "ffn sizes: want {}, one a feed-forward network, got {}", networks.size(),
                       options.ffn_sizes.size());
  for (size_t i = 0; i < networks.size(); ++i) {
    const int64_t width = networks[i]->writer.weight.size(1), keep = options.ffn_sizes[i];
    SLICE_ARGUMENT_CHECK(keep >= 1 && keep <= width, "{}: want to keep 1 … {} channels, got {}",
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
  SLICE_ARGUMENT_CHECK(held_out_windows(tokens.size(0)) > 0,
                       "samples: a search for a budget wants at least eight windows of calibration "
                       "text, an eighth of which it holds out; got {}",
                       tokens.size(0));
}

SliceReport refit_model(ModelAdapter& model, const Tensor& tokens, const SliceOptions& options,
                        const OnProgress& on_progress, std::vector<Tensor> gammas,
                        const ProcessGroup& group) {
  const at::NoGradGuard no_grad;
  double gradient_seconds = 0;
  if (gammas.empty()) {
    check_refit(model, tokens, options, /*trial=*/false);
    const detail::Charge charge(gradient_seconds);
    gammas = gradient_covariances(model, gradient_windows(tokens, options), options.seed,
                                  on_progress, group, {}, options.tf32);
  }
  SliceReport report =
      detail::refit_sublayers(model, tokens, options, on_progress, gammas, {}, group);
  report.gradient_seconds = gradient_seconds;
  report.total_seconds += gradient_seconds;
  return report;
}

SliceReport detail::refit_sublayers(ModelAdapter& model, const Tensor& tokens,
                                    const SliceOptions& options, const OnProgress& on_progress,
                                    const std::vector<Tensor>& gammas, const LayerHooks& hooks,
                                    const ProcessGroup& group) {
  check_refit(model, tokens, options, /*trial=*/false);
  SliceReport report;
  const Stopwatch total;
  hooks.entered(0);
  Refitter(model, tokens, options, gammas, report, on_progress, /*trial=*/false, hooks, group)
      .run();
  report.method = "refit";
  report.seed = options.seed;
  const Tensor& held = model.head.weight;
  report.tf32 = options.tf32 && held.is_cuda() && held.scalar_type() == at::kFloat;
  report.shortcut = shortcut_name(options.shortcut_form());
  report.total_seconds = total.seconds();
  report.peak_host_bytes = peak_host_bytes();
  report.peak_device_bytes = peak_device_bytes(model.head.weight.device());
  return report;
}

double refit_trial(ModelAdapter& model, const Tensor& tokens, const SliceOptions& options,
                   const std::vector<Tensor>& gammas, const OnProgress& on_progress,
                   const ProcessGroup& group) {
  const at::NoGradGuard no_grad;
  check_refit(model, tokens, options, /*trial=*/true);
  check_trial_windows(tokens);
  SliceReport report;
  const detail::LayerHooks none;
  detail::Refitter refitter(model, tokens, options, gammas, report, on_progress,
                            /*trial=*/true, none, group);
  refitter.run();
  return refitter.held_out_loss();
}

}  // namespace slice
