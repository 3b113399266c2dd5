#include "libslice/slicing/detail/run_identity.h"

#include <ATen/ATen.h>

#include <string>
#include <vector>

#include "libslice/base/detail/formatted.h"
#include "libslice/base/detail/sha256.h"
#include "libslice/base/detail/tensor_text.h"
#include "libslice/checkpoint/fingerprint.h"

namespace slice::detail {

namespace {

std::string budget_text(const SliceOptions& options) {
  std::string text;
  if (options.remove) {
    text = formatted("remove {}", *options.remove);
  } else if (options.remove_blocks) {
    text = formatted("remove {} of the blocks", *options.remove_blocks);
  } else {
    text = formatted("fit {} bytes, {} x {} tokens, weights of {} bytes", *options.fit_bytes,
                     options.fit_batch, options.fit_context, options.fit_weight_bytes);
  }
  if (options.round) text += formatted(", multiples of {}", *options.round);
  if (options.head == HeadMode::kSlice) text += ", head sliced";
  if (options.keep_tie) text += ", tie kept";
  if (options.only_gguf) text += ", GGUF";
  return text + (options.layout == Layout::kStock ? ", stock" : ", free");
}

std::string plan_text(const ModelConfig& dense, const SliceOptions& options) {
  if (options.budgeted()) {
    return formatted("{}, shortcuts {} {}", budget_text(options),
                     shortcut_name(options.shortcut_form()), options.shortcut_rank);
  }
  const ModelConfig sliced = planned_config(dense, options);
  std::vector<int64_t> sizes(sliced.sites());
  for (int64_t site = 0; site < sliced.sites(); ++site) sizes[site] = sliced.stream_size(site);
  std::string text = "hidden sizes " + joined(sizes, " ");
  if (options.method == Method::kSliceGpt) return text;
  text += formatted(", shortcuts {}", shortcut_name(options.shortcut_form()));
  if (options.shortcut_form() == ShortcutForm::kLowRank)
    text += formatted(" of rank {}", options.shortcut_rank);
  if (!options.ffn_sizes.empty()) text += ", channels " + joined(options.ffn_sizes, " ");
  return text;
}

/// What each text counts, which windows are its own, and what they are used for.
std::string texts_text(const CalibrationWindows& windows) {
  std::string text = "weights";
  for (const CalibrationText& own : windows.texts()) text += formatted(" {}", own.weight);
  std::vector<int64_t> rows = windows.text_of();
  for (const WindowUse use : {WindowUse::kFit, WindowUse::kChoose, WindowUse::kHeldOut}) {
    const std::vector<int64_t> own = windows.rows(use);
    rows.insert(rows.end(), own.begin(), own.end());
    rows.push_back(-1);
  }
  return text + ", " + sha256(at::tensor(rows, at::kLong));
}

std::string gradients_text(const SliceOptions& options) {
  const auto& samples = options.gradient_samples;
  return formatted("{} windows, seed {}", samples ? std::to_string(*samples) : "half of the",
                   options.seed);
}

}  // namespace

ResumeJournal::Identity run_identity(const Checkpoint& checkpoint,
                                     const CalibrationWindows& windows, const SliceOptions& options,
                                     const LayerwiseOptions& layerwise, at::Device device,
                                     at::ScalarType held, at::ScalarType written) {
  const at::Tensor& tokens = windows.tokens();
  const bool refit = options.method == Method::kRefit;
  ResumeJournal::Identity run = {
      {"libslice", version()},
      {"method", refit ? "refit" : "slicegpt"},
      {"checkpoint", fingerprint(checkpoint.path())},
      {"calibration",
       formatted("{} windows of {} tokens, {}", tokens.size(0), tokens.size(1), sha256(tokens))},
      {"plan", plan_text(checkpoint.config(), options)},
      {"chunk size", formatted("{}", options.chunk_tokens)},
      {"device", device.is_cuda() ? "cuda" : "cpu"},
      {"dtype", formatted("{}, written as {}", dtype_name(held), dtype_name(written))},
      {"shard size", formatted("{}", layerwise.shard_bytes)}};
  if (refit) {
    run.emplace_back("share of the texts", texts_text(windows));
    run.emplace_back("choice of gradients", gradients_text(options));
    run.emplace_back("training", formatted("{} epochs", options.recover));
    run.emplace_back("precision of products", options.tf32 && device.is_cuda() ? "TF32" : "exact");
  }
  return run;
}

}  // namespace slice::detail
