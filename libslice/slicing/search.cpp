#include "libslice/slicing/search.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

#include "libslice/base/detail/check.h"
#include "libslice/checkpoint/model.h"
#include "libslice/checkpoint/stock.h"
#include "libslice/decode/memory.h"
#include "libslice/device/detail/tf32.h"
#include "libslice/method/channels.h"
#include "libslice/method/gradient.h"
#include "libslice/model/decoder.h"
#include "libslice/slicing/detail/refit_model.h"
#include "libslice/text/calibration.h"

namespace slice {

using at::Tensor;

namespace {

/// Kept sizes that are tried, as shares of D. Below them it is cheaper to remove FFN channels, at
/// every budget measured (docs/results/quality.md).
constexpr double kKeptShares[] = {1.0, 0.9722, 0.9445, 0.9167, 0.8889, 0.8334};
constexpr int64_t kTrialWindows = 32;

/// What allocate_channels leaves of a layer at least.
int64_t least_width(int64_t width) { return (width + 5) / 6; }

/// Fewest and most channels of all layers together that a plan keeps; where all layers keep as
/// many, no more than the narrowest has.
std::pair<int64_t, int64_t> channel_range(const ModelConfig& dense, const SliceOptions& options) {
  const std::vector<int64_t> widths = dense.ffn_widths();
  if (options.head == HeadMode::kSlice) {
    const auto [narrowest, widest] = std::minmax_element(widths.begin(), widths.end());
    return {dense.layers * std::min(least_width(*widest), *narrowest), dense.layers * *narrowest};
  }
  int64_t least = 0, all = 0;
  for (const int64_t width : widths) {
    least += least_width(width);
    all += width;
  }
  return {least, all};
}

/// The widths of layers that keep so many channels together, for counting: as many in every layer
/// where the head is sliced, otherwise the same share of what each can lose, and the first ones a
/// channel more where that does not come out even.
std::vector<int64_t> spread(const ModelConfig& dense, const SliceOptions& options,
                            int64_t channels) {
  if (options.head == HeadMode::kSlice)
    return std::vector<int64_t>(dense.layers, channels / dense.layers);
  const auto [least, all] = channel_range(dense, options);
  std::vector<int64_t> widths = dense.ffn_widths();
  if (channels == all) return widths;
  int64_t left = channels;
  for (int64_t& width : widths) {
    const int64_t fewest = least_width(width);
    width = fewest + (width - fewest) * (channels - least) / (all - least);
    left -= width;
  }
  for (int64_t layer = 0; left > 0; ++layer) {
    if (widths[layer] == dense.ffn_width(layer)) continue;
    ++widths[layer];
    --left;
  }
  return widths;
}

/// The form that is written of a candidate with its channels spread evenly, for counting.
ModelConfig candidate_config(const ModelConfig& dense, SliceOptions options, int64_t kept,
                             int64_t channels, bool tied) {
  options.kept = kept;
  options.keep_tie = tied;
  options.ffn_sizes = spread(dense, options, channels);
  return written_config(planned_config(dense, options));
}

/// What a budget bounds: bytes or parameters of a configuration.
double measure(const ModelConfig& config, const SliceOptions& budget) {
  if (budget.fit_bytes) {
    return static_cast<double>(
        inference_bytes(config, budget.fit_weight_bytes, budget.fit_context, budget.fit_batch));
  }
  const ParameterCount count = count_parameters(config);
  return static_cast<double>(budget.remove ? count.total : count.blocks);
}

/// Whether a tied head is untied, keeps its tie, or both are tried. Where only block weights count,
/// an untied head costs nothing and loses less; a stock checkpoint has no map before its head.
std::vector<bool> ties(const ModelConfig& dense, const SliceOptions& options) {
  if (options.keep_tie) return {true};
  if (!dense.tied_head || options.remove_blocks || options.head == HeadMode::kSlice) return {false};
  return {false, true};
}

/// The largest number in [least, all] that fits, where smaller ones fit too; least − 1 if none
/// does.
template <typename Fits>
int64_t most_channels(int64_t least, int64_t all, Fits&& fits) {
  int64_t low = least - 1, high = all;
  while (low < high) {
    const int64_t middle = (low + high + 1) / 2;
    if (fits(middle)) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return low;
}

double bound(const ModelConfig& dense, const SliceOptions& budget) {
  SLICE_ARGUMENT_CHECK(budget.budgeted(),
                       "budget: want one of remove, remove_blocks and fit_bytes");
  if (budget.fit_bytes) return static_cast<double>(*budget.fit_bytes);
  const double fraction = budget.remove ? *budget.remove : *budget.remove_blocks;
  SLICE_ARGUMENT_CHECK(fraction > 0 && fraction < 1, "budget: want a fraction in (0, 1), got {}",
                       fraction);
  return measure(dense, budget) * (1 - fraction);
}

}  // namespace

std::vector<Candidate> candidates(const ModelConfig& dense, const SliceOptions& options) {
  check_options(options);
  const double most = bound(dense, options);
  const int64_t step = options.head == HeadMode::kSlice ? dense.layers : 1;
  SliceOptions even = options;  // a sliced head has layers of one width
  even.ffn_sizes.assign(dense.layers, 1);
  const int64_t mean = mean_coordinates(dense, even);
  const auto range = channel_range(dense, options);
  const int64_t least = range.first / step, all = range.second / step;
  std::vector<Candidate> found;
  for (const bool tied : ties(dense, options)) {
    int64_t last = 0;
    for (const double share : kKeptShares) {
      const int64_t kept = share == 1.0 ? dense.hidden_size
                                        : static_cast<int64_t>(share * dense.hidden_size) /
                                                  options.round * options.round -
                                              mean;
      if (kept < 1 || kept == last) continue;
      last = kept;
      const auto config = [&](int64_t channels) {
        return candidate_config(dense, options, kept, channels * step, tied);
      };
      const int64_t channels = most_channels(
          least, all, [&](int64_t some) { return measure(config(some), options) <= most; });
      if (channels < least) continue;
      const ModelConfig widest = config(channels);
      const bool whole = kept == dense.hidden_size;  // stays tied either way: listed once
      if (!whole || found.empty() || found.front().kept != kept)
        found.push_back(
            {kept, channels * step, widest.tied_head, count_parameters(widest), std::nullopt});
      if (channels == all) break;  // smaller kept sizes would remove more than was asked
    }
  }
  SLICE_ARGUMENT_CHECK(
      !found.empty(),
      "budget: no plan reaches it: the smallest one tried keeps {} of {} FFN channels",
      least * step, all * step);
  return found;
}

SearchResult search_plan(Model& model, const Tensor& tokens, const SliceOptions& options,
                         const OnProgress& on_progress, const ProcessGroup& group) {
  const at::NoGradGuard no_grad;
  SLICE_ARGUMENT_CHECK(options.method == Method::kRefit,
                       "budget: the slicegpt method has no search");
  DecoderImpl& decoder = model.decoder();
  SearchResult result;
  result.tried = candidates(decoder.config(), options);
  if (result.tried.size() > 1) check_trial_windows(tokens);  // before the gradients' work
  ModelAdapter adapter = decoder.adapter();
  result.gammas = gradient_covariances(adapter, gradient_windows(tokens, options), options.seed,
                                       on_progress, group, {}, options.tf32);
  const Tensor windows = select_windows(tokens, {.samples = kTrialWindows});
  const detail::Tf32Scope exact(false);
  const std::vector<Tensor> scores = channel_scores(adapter, windows, result.gammas, group);
  const ModelConfig dense = decoder.config();
  const double most = bound(dense, options);
  // A channel of the last layer may cost more than others, so what was counted with channels spread
  // evenly is counted again.
  const auto plan = [&](Candidate& candidate) {
    SliceOptions planned = options;
    planned.remove = planned.remove_blocks = std::nullopt;
    planned.fit_bytes = std::nullopt;
    planned.kept = candidate.kept;
    planned.keep_tie = candidate.tied;
    for (;; --candidate.channels) {
      if (options.head == HeadMode::kSlice) {
        planned.ffn_sizes = spread(dense, options, candidate.channels);
      } else {
        planned.ffn_sizes = allocate_channels(scores, candidate.channels);
      }
      const ModelConfig config = written_config(planned_config(dense, planned));
      candidate.after = count_parameters(config);
      if (measure(config, options) <= most) return planned;
    }
  };
  const auto trials = std::ssize(result.tried);
  for (int64_t i = 0; i < trials; ++i) {
    Candidate& candidate = result.tried[i];
    if (trials > 1)
      candidate.loss = refit_trial(adapter, windows, plan(candidate), result.gammas, group);
    if (on_progress) on_progress({.phase = "search", .step = i + 1, .steps = trials});
  }
  std::stable_sort(result.tried.begin(), result.tried.end(),
                   [](const Candidate& a, const Candidate& b) {
                     return a.loss.value_or(0) < b.loss.value_or(0);
                   });
  result.options = plan(result.tried.front());
  return result;
}

}  // namespace slice
