#include "libslice/slicing/slice_model.h"

#include <ATen/ATen.h>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/stopwatch.h"
#include "libslice/checkpoint/model.h"
#include "libslice/device/detail/memory.h"
#include "libslice/method/signal.h"
#include "libslice/model/adapter.h"
#include "libslice/model/decoder.h"
#include "libslice/slicing/detail/progress_reporter.h"
#include "libslice/slicing/detail/refit_model.h"
#include "libslice/slicing/detail/slice_sublayers.h"
#include "libslice/slicing/search.h"

namespace slice {

using at::Tensor;

namespace {

at::Device device_of(const ModelAdapter& model) {
  return model.head.weight.defined() ? model.head.weight.device() : at::Device(at::kCPU);
}

SliceReport run(ModelAdapter& model, const CalibrationWindows& windows, const SliceOptions& options,
                const OnProgress& on_progress, const ProcessGroup& group,
                std::vector<Tensor> gammas) {
  const at::NoGradGuard no_grad;
  Signal::check_tokens(windows.tokens());
  SliceReport report;
  detail::name_memory("slicing", device_of(model), [&] {
    check_options(options);
    if (options.method == Method::kRefit) {
      report = refit_model(model, windows, options, on_progress, std::move(gammas), group);
    } else {
      check_adapter(model);
      report = detail::slice_sublayers(model, windows, options, on_progress, {}, group);
    }
  });
  return report;
}

}  // namespace

SliceReport slice_model(ModelAdapter& model, const CalibrationWindows& windows,
                        const SliceOptions& options, const OnProgress& on_progress,
                        const ProcessGroup& group) {
  SLICE_ARGUMENT_CHECK(
      !options.budgeted(),
      "remove, remove_blocks and fit_bytes need a slice::Model; a ModelAdapter has no "
      "configuration");
  SliceReport report = run(model, windows, options, on_progress, group, {});
  report.asked = options;
  return report;
}

SliceReport slice_model(Model& model, const CalibrationWindows& windows,
                        const SliceOptions& options, const OnProgress& on_progress,
                        const ProcessGroup& group) {
  DecoderImpl& decoder = model.decoder();
  const ModelConfig dense = decoder.config();
  SLICE_ARGUMENT_CHECK(!dense.sliced(), "model is already sliced; start from the dense checkpoint");
  decoder.check_tokens(windows.tokens(),
                       /*first=*/0);  // before a search begins or the head is untied
  const detail::Stopwatch total;
  SearchResult search;
  search.options = options;
  if (options.budgeted()) {
    detail::name_memory("the search for a plan", decoder.device(),
                        [&] { search = search_plan(model, windows, options, on_progress, group); });
  }
  const SliceOptions plan = with_kept_size(dense, search.options);
  planned_config(dense, plan);  // refuses before anything changes
  std::vector<PeakReport> peaks;
  if (options.budgeted()) detail::note_peak(peaks, "search", decoder.device());
  const double search_seconds = total.seconds();
  const bool rotates = plan.rotates(dense.hidden_size);
  if (rotates) decoder.prepare_readers();
  if (rotates && !plan.keep_tie)
    detail::name_memory("a head of its own", decoder.device(), [&] { decoder.prepare_head(); });
  ModelAdapter adapter = decoder.adapter();
  SliceReport report = run(adapter, windows, plan, on_progress, group, std::move(search.gammas));
  report.candidates = std::move(search.tried);
  report.search_seconds = options.budgeted() ? search_seconds - search.gradient_seconds : 0;
  report.gradient_seconds += search.gradient_seconds;
  if (rotates)
    decoder.set_sliced(report.stream_sizes, plan.shortcut_form(),
                       planned_config(dense, plan).shortcut_rank);
  if (adapter.head_map.weight.defined())
    decoder.set_head_map(adapter.head_map.weight, adapter.head_map.bias);
  if (report.ffn_sizes.empty()) report.ffn_sizes = dense.ffn_widths();
  decoder.set_ffn_sizes(report.ffn_sizes);
  detail::describe_model(report, dense, decoder.config(), model.stored_dtype());
  report.asked = options;
  detail::note_peak(peaks, "slice", decoder.device());
  report.peaks = std::move(peaks);
  report.total_seconds = total.seconds();
  return report;
}

}  // namespace slice
