#include "libslice/slicing/slice_checkpoint.h"

#include <ATen/ATen.h>
#include <c10/core/ScalarType.h>

#include <functional>
#include <string>
#include <vector>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/stopwatch.h"
#include "libslice/checkpoint/model.h"
#include "libslice/checkpoint/stock.h"
#include "libslice/device/detail/memory.h"
#include "libslice/device/device.h"
#include "libslice/method/gradient.h"
#include "libslice/method/signal.h"
#include "libslice/model/decoder.h"
#include "libslice/slicing/cost.h"
#include "libslice/slicing/detail/layer_writer.h"
#include "libslice/slicing/detail/refit_model.h"
#include "libslice/slicing/detail/resume_journal.h"
#include "libslice/slicing/detail/run_identity.h"

namespace slice {

using at::Tensor;

namespace {

/// Γ of every site, its weights read layer by layer. (docs/method.md, "Output-aware directions")
std::vector<Tensor> gammas_of(const ModelAdapter& model, const CalibrationWindows& windows,
                              const SliceOptions& options, const OnProgress& on_progress,
                              detail::LayerReader& reader, int64_t sublayers) {
  const HeldWeights weights{sublayers,
                            [&](int64_t first, int64_t last) { reader.hold(first, last); }};
  std::vector<Tensor> gammas =
      gradient_covariances(model, gradient_windows(windows, options), options.seed, on_progress, {},
                           weights, options.tf32);
  reader.release();
  return gammas;
}

/// What an earlier run kept, else what `compute` gives, which is kept.
std::vector<Tensor> kept_gammas(detail::ResumeJournal* journal, const ModelAdapter& model,
                                const OnProgress& on_progress,
                                const std::function<std::vector<Tensor>()>& compute) {
  if (journal == nullptr) return compute();
  const auto note = [&](const std::string& words) {
    if (on_progress) on_progress({.phase = "gradients", .note = words});
  };
  std::vector<Tensor> gammas = journal->gammas(std::ssize(model.sublayers) + 1, model.hidden_size);
  if (!gammas.empty()) {
    note("resuming: the gradient covariances are on the disk");
    return gammas;
  }
  gammas = compute();
  const std::string reason = journal->keep_gammas(gammas);
  if (!reason.empty())
    note("no room to keep the gradient covariances; a run that is resumed takes them again: " +
         reason);
  return gammas;
}

void check_layerwise(const SliceOptions& options) {
  SLICE_ARGUMENT_CHECK(
      !options.budgeted(),
      "layer by layer: want a kept size; the search for a budget needs the whole model");
  SLICE_ARGUMENT_CHECK(
      options.method == Method::kSliceGpt ||
          (!options.keep_tie && options.shortcut_form() != ShortcutForm::kDiagonal),
      "layer by layer: neither diagonal shortcuts, which turn weights already written, nor a "
      "kept tie, whose map needs the embedding");
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
  check_layerwise(asked);
  const SliceOptions options = with_kept_size(dense, asked);
  const bool refit = options.method == Method::kRefit;
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
  const ModelConfig sliced = planned_config(dense, options);

  if (tokenizer != nullptr) warn_of_tokens_without_row(*tokenizer, dense.vocabulary_size, file);
  DecoderImpl decoder(dense);
  check_entries(decoder, checkpoint);
  if (options.rotates(dense.hidden_size)) decoder.prepare_head();
  SliceReport report;
  std::optional<detail::ResumeJournal> journal;
  if (!layerwise.journal.empty()) {
    journal.emplace(
        layerwise.journal, options.method,
        detail::run_identity(checkpoint, windows, options, layerwise, device, held, written),
        dense.layers + 2, dense.parallel_block ? 1 : 2, layerwise.save_every);
  }
  detail::name_memory("slicing layer by layer", device, [&] {
    detail::LayerReader reader(decoder, checkpoint, device, held);
    ModelAdapter adapter = decoder.adapter();
    check_adapter(adapter, options.rotates(dense.hidden_size));
    std::vector<Tensor> gammas;
    double gradient_seconds = 0;
    if (refit) {
      const detail::Charge charge(gradient_seconds);
      gammas = kept_gammas(journal ? &*journal : nullptr, adapter, on_progress, [&] {
        return gammas_of(adapter, windows, options, on_progress, reader,
                         detail::held_layers(dense, device, held) * (dense.parallel_block ? 1 : 2));
      });
    }
    const double read_before = reader.seconds();
    detail::LayerWriter weights(decoder, reader, sliced, directory, device, written,
                                layerwise.shard_bytes, journal ? &*journal : nullptr);
    detail::LayerHooks hooks = weights.hooks();
    hooks.scratch = directory;
    report = refit ? detail::refit_sublayers(adapter, windows, options, on_progress, gammas, hooks)
                   : detail::slice_sublayers(adapter, windows, options, on_progress, hooks);
    weights.finish();
    report.gradient_seconds = gradient_seconds;
    report.load_seconds = reader.seconds() - read_before;  // that of the gradients is in theirs
    report.save_seconds = weights.leave_seconds();
  });
  const ModelConfig form = written_config(sliced);
  write_description(form, written, tokenizer, directory);

  if (journal) report.resume = journal->report();
  report.family = dense.family;
  report.layers = dense.layers;
  report.head_counts.assign(dense.layers, dense.heads);
  if (report.ffn_sizes.empty()) report.ffn_sizes = dense.ffn_widths();
  report.tied = sliced.tied_head;
  report.before = count_parameters(dense);
  report.after = count_parameters(form);
  report.weight_bytes = static_cast<int64_t>(c10::elementSize(written));
  report.form = output_form(sliced);
  report.total_seconds = total.seconds();
  report.peak_host_bytes = peak_host_bytes();
  report.peak_device_bytes = peak_device_bytes(device);
  return report;
}

}  // namespace slice
