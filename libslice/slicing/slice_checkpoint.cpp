#include "libslice/slicing/slice_checkpoint.h"

#include <ATen/ATen.h>
#include <c10/core/ScalarType.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/stopwatch.h"
#include "libslice/checkpoint/model.h"
#include "libslice/checkpoint/stock.h"
#include "libslice/device/detail/memory.h"
#include "libslice/device/device.h"
#include "libslice/method/signal.h"
#include "libslice/model/decoder.h"
#include "libslice/slicing/detail/layer_writer.h"
#include "libslice/slicing/detail/layerwise_plan.h"
#include "libslice/slicing/detail/progress_reporter.h"
#include "libslice/slicing/detail/resume_journal.h"
#include "libslice/slicing/detail/run_identity.h"

namespace slice {

using at::Tensor;

namespace {

void check_layerwise(const ModelConfig& dense, const SliceOptions& options) {
  SLICE_ARGUMENT_CHECK(
      options.method == Method::kSliceGpt || options.shortcut_form() != ShortcutForm::kDiagonal,
      "layer by layer: no diagonal shortcuts, which turn weights already written");
  SLICE_ARGUMENT_CHECK(
      options.budgeted() || !options.keep_tie || !options.rotates(dense.hidden_size),
      "layer by layer: no kept tie, whose map needs the embedding");
  SLICE_ARGUMENT_CHECK(!options.budgeted() || options.method == Method::kRefit,
                       "budget: the slicegpt method has no search");
}

}  // namespace

SliceReport slice_checkpoint(const Checkpoint& checkpoint, const CalibrationWindows& windows,
                             const SliceOptions& asked, const std::filesystem::path& directory,
                             const LayerwiseOptions& layerwise, const Tokenizer* tokenizer,
                             const OnProgress& on_progress) {
  const at::NoGradGuard no_grad;
  const detail::Stopwatch total;
  const Tensor& tokens = windows.tokens();
  const ModelConfig& dense = checkpoint.config();
  const std::string file = checkpoint.path().string();
  check_layerwise(dense, asked);
  SLICE_ARGUMENT_CHECK(!dense.sliced(), "model is already sliced; start from the dense checkpoint");
  Signal::check_tokens(tokens);
  const at::Device device = choose_device(layerwise.device);
  const std::optional<at::ScalarType> stored = stored_dtype(checkpoint);
  SLICE_FORMAT_CHECK(
      stored || (layerwise.written && (device.is_cpu() || layerwise.dtype)),
      "{}: a quantised file names no dtype to hold and write its weights in: give one", file);
  const at::ScalarType held =
      layerwise.dtype.value_or(device.is_cpu() ? at::kFloat : stored.value_or(at::kHalf));
  const at::ScalarType written = layerwise.written ? *layerwise.written : *stored;
  const SliceOptions wanted = asked.budgeted() ? asked : with_kept_size(dense, asked);
  const bool refit = asked.method == Method::kRefit;
  if (!asked.budgeted()) planned_config(dense, wanted);  // refuses before any work

  if (tokenizer != nullptr) warn_of_tokens_without_row(*tokenizer, dense.vocabulary_size, file);
  check_entries(DecoderImpl(dense), checkpoint);
  std::optional<detail::ResumeJournal> journal;
  if (!layerwise.journal.empty()) {
    journal.emplace(
        layerwise.journal, wanted.method,
        detail::run_identity(checkpoint, windows, wanted, layerwise, device, held, written),
        dense.layers + 2, dense.parallel_block ? 1 : 2, layerwise.save_every);
  }
  detail::ResumeJournal* const kept = journal ? &*journal : nullptr;
  SearchResult plan;
  plan.options = wanted;
  if (refit) {
    detail::name_memory("slicing layer by layer", device, [&] {
      plan = detail::layerwise_plan(checkpoint, windows, wanted, device, held, directory, kept,
                                    on_progress);
    });
  }
  const double search_seconds = total.seconds() - plan.gradient_seconds;
  std::vector<PeakReport> peaks;
  if (refit) detail::note_peak(peaks, asked.budgeted() ? "search" : "gradients", device);
  const SliceOptions options = with_kept_size(dense, plan.options);
  const ModelConfig sliced = planned_config(dense, options);
  DecoderImpl decoder(dense);
  if (options.rotates(dense.hidden_size)) decoder.prepare_head();
  SliceReport report;
  detail::name_memory("slicing layer by layer", device, [&] {
    detail::LayerReader reader(decoder, checkpoint, device, held);
    ModelAdapter adapter = decoder.adapter();
    check_adapter(adapter, options.rotates(dense.hidden_size));
    detail::LayerWriter weights(decoder, reader, sliced, directory, device, written,
                                layerwise.shard_bytes, kept);
    detail::LayerHooks hooks = weights.hooks();
    hooks.scratch = directory;
    report =
        refit ? detail::refit_sublayers(adapter, windows, options, on_progress, plan.gammas, hooks)
              : detail::slice_sublayers(adapter, windows, options, on_progress, hooks);
    weights.finish();
    report.load_seconds = reader.seconds();
    report.save_seconds = weights.leave_seconds();
  });
  write_description(written_config(sliced), written, tokenizer, directory);

  if (journal) report.resume = journal->report();
  report.candidates = std::move(plan.tried);
  report.gradient_seconds = plan.gradient_seconds;
  report.search_seconds = asked.budgeted() ? search_seconds : 0;
  detail::describe_model(report, dense, sliced, written);
  report.asked = asked;
  detail::note_peak(peaks, "slice", device);
  report.peaks = std::move(peaks);
  report.total_seconds = total.seconds();
  report.peak_host_bytes = peak_host_bytes();
  report.peak_device_bytes = peak_device_bytes(device);
  return report;
}

}  // namespace slice
