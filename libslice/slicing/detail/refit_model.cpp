#include "libslice/slicing/detail/refit_model.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/stopwatch.h"
#include "libslice/device/device.h"
#include "libslice/method/gradient.h"
#include "libslice/method/signal.h"
#include "libslice/slicing/detail/refitter.h"

namespace slice {

using at::Tensor;

namespace {

void check_refit(const ModelAdapter& model, const CalibrationWindows& windows,
                 const SliceOptions& options, bool trial) {
  Signal::check_tokens(windows.tokens());
  check_options(options);
  if (!trial) check_recovery_windows(windows, options);
  const bool rotates = options.rotates(model.hidden_size);
  if (rotates) check_rotates(model);
  check_adapter(model, !trial && rotates, options.keep_tie);
  const bool pairs = rotates && options.shortcut_form() == ShortcutForm::kDiagonal;
  for (size_t i = 0; i < model.sublayers.size(); ++i) {
    const Sublayer& s = model.sublayers[i];
    SLICE_ARGUMENT_CHECK(!s.mixes() || options.recover == 0, "{}: experts are not trained", s.name);
    SLICE_ARGUMENT_CHECK(!s.mixes() || !pairs || i % 2 == 1,
                         "{}: where shortcuts are diagonal, mixtures of experts come second",
                         s.name);
  }
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
    const int64_t width = networks[i]->width(), keep = options.ffn_sizes[i];
    SLICE_ARGUMENT_CHECK(keep >= 1 && keep <= width, "{}: want to keep 1 … {} channels, got {}",
                         networks[i]->writers().front().name, width, keep);
  }
}

/// The dense model's mean loss of held-out tokens and the most that slicing adds to it on any text.
double worst_loss(const SliceReport& report) {
  double dense = 0, most = -std::numeric_limits<double>::infinity(), windows = 0;
  for (const TextReport& text : report.texts) {
    if (!text.held_out_before) continue;
    dense += *text.held_out_before * static_cast<double>(text.held_out);
    windows += static_cast<double>(text.held_out);
    most = std::max(most, *text.held_out_after - *text.held_out_before);
  }
  return dense / windows + most;
}

}  // namespace

CalibrationWindows gradient_windows(const CalibrationWindows& windows,
                                    const SliceOptions& options) {
  return windows.fitted(options.gradient_samples.value_or((windows.tokens().size(0) + 1) / 2));
}

void check_recovery_windows(const CalibrationWindows& windows, const SliceOptions& options) {
  SLICE_ARGUMENT_CHECK(options.recover == 0 || !windows.rows(WindowUse::kChoose).empty(),
                       "recover: want at least eight calibration windows, four of one text, to "
                       "judge training on some; got {} of {} texts",
                       windows.tokens().size(0), windows.texts().size());
}

void check_trial_windows(const CalibrationWindows& windows) {
  SLICE_ARGUMENT_CHECK(!windows.rows(WindowUse::kChoose).empty(),
                       "samples: a search for a budget wants at least eight windows of calibration "
                       "text, four of one text, to compare plans on some; got {} of {} texts",
                       windows.tokens().size(0), windows.texts().size());
}

SliceReport refit_model(ModelAdapter& model, const CalibrationWindows& windows,
                        const SliceOptions& options, const OnProgress& on_progress,
                        std::vector<Tensor> gammas, const ProcessGroup& group) {
  const at::NoGradGuard no_grad;
  double gradient_seconds = 0;
  if (gammas.empty()) {
    check_refit(model, windows, options, /*trial=*/false);
    const detail::Charge charge(gradient_seconds);
    gammas = gradient_covariances(model, gradient_windows(windows, options), options.seed,
                                  on_progress, group, {}, options.tf32);
  }
  SliceReport report =
      detail::refit_sublayers(model, windows, options, on_progress, gammas, {}, group);
  report.gradient_seconds = gradient_seconds;
  report.total_seconds += gradient_seconds;
  return report;
}

SliceReport detail::refit_sublayers(ModelAdapter& model, const CalibrationWindows& windows,
                                    const SliceOptions& options, const OnProgress& on_progress,
                                    const std::vector<Tensor>& gammas, const LayerHooks& hooks,
                                    const ProcessGroup& group) {
  check_refit(model, windows, options, /*trial=*/false);
  SliceReport report;
  const Stopwatch total;
  Refitter(model, windows, options, gammas, report, on_progress, /*trial=*/false, hooks, group)
      .run();
  report.method = "refit";
  report.seed = options.seed;
  report.recover_epochs = options.recover;
  const Tensor& held = model.head.weight;
  report.tf32 = options.tf32 && held.is_cuda() && held.scalar_type() == at::kFloat;
  report.shortcut = shortcut_name(options.shortcut_form());
  report.total_seconds = total.seconds();
  report.peak_host_bytes = peak_host_bytes();
  report.peak_device_bytes = peak_device_bytes(model.head.weight.device());
  return report;
}

double refit_trial(ModelAdapter& model, const CalibrationWindows& trial,
                   const SliceOptions& options, const std::vector<Tensor>& gammas,
                   const OnProgress& on_progress, const ProcessGroup& group) {
  return detail::trial_loss(model, trial, options, on_progress, gammas, {}, group);
}

double detail::trial_loss(ModelAdapter& model, const CalibrationWindows& trial,
                          const SliceOptions& options, const OnProgress& on_progress,
                          const std::vector<Tensor>& gammas, const LayerHooks& hooks,
                          const ProcessGroup& group) {
  const at::NoGradGuard no_grad;
  check_refit(model, trial, options, /*trial=*/true);
  SLICE_ARGUMENT_CHECK(!trial.rows(WindowUse::kHeldOut).empty(),
                       "trial: want windows that are held out, to score the plan on");
  SliceReport report;
  Refitter(model, trial, options, gammas, report, on_progress, /*trial=*/true, hooks, group).run();
  return worst_loss(report);
}

}  // namespace slice
