#include "libslice/slicing/search.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/formatted.h"
#include "libslice/base/detail/stopwatch.h"
#include "libslice/checkpoint/gguf_write.h"
#include "libslice/checkpoint/model.h"
#include "libslice/checkpoint/stock.h"
#include "libslice/decode/memory.h"
#include "libslice/device/detail/tf32.h"
#include "libslice/method/channels.h"
#include "libslice/method/gradient.h"
#include "libslice/model/decoder.h"
#include "libslice/slicing/detail/refit_model.h"

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

/// Whether the options allow the form that a candidate is written in. Where the head is kept,
/// layers come to keep numbers of channels of their own, whatever was counted.
bool writable(ModelConfig candidate, const SliceOptions& options, bool all_channels) {
  if (!options.only_gguf) return true;
  std::vector<int64_t> widths = candidate.ffn_widths();
  if (options.head == HeadMode::kKeep && !all_channels && candidate.layers > 1)
    widths.front() = widths.back() + 1;
  return !gguf_obstacle(narrowed_config(std::move(candidate), std::move(widths)));
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

std::string size_text(double bytes) {
  return bytes < 0x1p30 ? detail::formatted("{:.1f} MiB", bytes / 0x1p20)
                        : detail::formatted("{:.2f} GiB", bytes / 0x1p30);
}

/// Why no candidate reaches a budget.
std::string out_of_reach(const ModelConfig& dense, const SliceOptions& budget, double smallest) {
  const double whole = measure(dense, budget), most = bound(dense, budget);
  if (!budget.fit_bytes) {
    return detail::formatted(
        "budget: no plan reaches it: at most {:.0f} of the dense model's {:.0f} {} were asked for, "
        "the smallest plan tried keeps {:.0f} ({:.1f} % fewer)",
        most, whole, budget.remove ? "parameters" : "block weights", smallest,
        100 * (1 - smallest / whole));
  }
  return detail::formatted(
      "budget: no plan fits into {}: the smallest one tried takes {}, the dense model {}, "
      "for {} x {} tokens and weights of {} bytes; of each, {} are CUDA's own (context, modules, "
      "cuBLAS)",
      size_text(most), size_text(smallest), size_text(whole), budget.fit_batch, budget.fit_context,
      budget.fit_weight_bytes, size_text(kCudaContextBytes));
}

/// The plan of a candidate with its channels ranked. A channel of one layer may cost more than one
/// of another, so what was counted with channels spread evenly is counted again.
SliceOptions ranked_plan(const ModelConfig& dense, const SliceOptions& options,
                         const std::vector<Tensor>& scores, Candidate& candidate) {
  const double most = bound(dense, options);
  SliceOptions planned = options;
  planned.remove = planned.remove_blocks = std::nullopt;
  planned.fit_bytes = std::nullopt;
  planned.kept = candidate.kept;
  planned.keep_tie = candidate.tied;
  const auto written = [&](int64_t channels) {
    planned.ffn_sizes = options.head == HeadMode::kSlice ? spread(dense, options, channels)
                                                         : allocate_channels(scores, channels);
    return written_config(planned_config(dense, planned));
  };
  const auto fits = [&](int64_t channels) { return measure(written(channels), options) <= most; };
  if (!fits(candidate.channels)) {
    const int64_t least = channel_range(dense, options).first;
    candidate.channels = most_channels(least, candidate.channels - 1, fits);
    SLICE_ARGUMENT_CHECK(candidate.channels >= least,
                         "budget: no plan reaches it with hidden size {}", candidate.kept);
  }
  candidate.after = count_parameters(written(candidate.channels));
  return planned;
}

/// Progress of a trial as a part of all of them.
OnProgress within_search(const OnProgress& on_progress, int64_t trial, int64_t trials,
                         const detail::Stopwatch& clock) {
  if (!on_progress) return {};
  return [&, trial, trials](Progress p) {
    const double own = p.seconds + p.eta > 0 ? p.seconds / (p.seconds + p.eta) : 0;
    const double done = static_cast<double>(trial) + own, seconds = clock.seconds();
    on_progress({.phase = "search",
                 .step = trial * p.steps + p.step,
                 .steps = trials * p.steps,
                 .tokens_per_second = p.tokens_per_second,
                 .seconds = seconds,
                 .eta = done > 0 ? seconds * (static_cast<double>(trials) / done - 1) : 0});
  };
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
  double smallest = std::numeric_limits<double>::infinity();
  const ParameterCount whole_model = count_parameters(dense);
  bool grew = false;
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
      if (channels < least) {
        smallest = std::min(smallest, measure(config(least), options));
        continue;
      }
      const ModelConfig widest = config(channels);
      const ParameterCount after = count_parameters(widest);
      const bool whole = kept == dense.hidden_size;  // stays tied either way: listed once
      if (after.exceeds(whole_model)) {
        grew = true;
      } else if ((!whole || found.empty() || found.front().kept != kept) &&
                 writable(widest, options, channels == all)) {
        found.push_back({kept, channels * step, widest.tied_head, after, std::nullopt});
      }
      if (channels == all) break;  // smaller kept sizes would remove more than was asked
    }
  }
  SLICE_ARGUMENT_CHECK(!found.empty() || !grew,
                       "budget: every plan that reaches it stores more than the dense model, or "
                       "reads more for a token; slice asks for one of them");
  SLICE_ARGUMENT_CHECK(
      !found.empty() || !options.only_gguf, "budget: no plan that llama.cpp runs reaches it{}",
      options.head == HeadMode::kKeep ? "; with the head sliced there are more" : "");
  if (found.empty()) throw ArgumentError(out_of_reach(dense, options, smallest));
  return found;
}

SearchResult search_plan(Model& model, const CalibrationWindows& windows,
                         const SliceOptions& options, const OnProgress& on_progress,
                         const ProcessGroup& group) {
  const at::NoGradGuard no_grad;
  SLICE_ARGUMENT_CHECK(options.method == Method::kRefit,
                       "budget: the slicegpt method has no search");
  DecoderImpl& decoder = model.decoder();
  SearchResult result;
  result.tried = candidates(decoder.config(), options);
  if (result.tried.size() > 1) check_trial_windows(windows);  // before the gradients' work
  ModelAdapter adapter = decoder.adapter();
  {
    const detail::Charge charge(result.gradient_seconds, decoder.device());
    result.gammas = gradient_covariances(adapter, gradient_windows(windows, options), options.seed,
                                         on_progress, group, {}, options.tf32);
  }
  const detail::Tf32Scope exact(false);
  const std::vector<Tensor> scores =
      channel_scores(adapter, windows.fitted(kTrialWindows), result.gammas, on_progress, group);
  const CalibrationWindows trial = windows.trial(kTrialWindows);
  const auto plan = [&](Candidate& candidate) {
    return ranked_plan(decoder.config(), options, scores, candidate);
  };
  const detail::Stopwatch clock;
  const auto trials = std::ssize(result.tried);
  for (int64_t i = 0; trials > 1 && i < trials; ++i) {
    Candidate& candidate = result.tried[i];
    candidate.loss = refit_trial(adapter, trial, plan(candidate), result.gammas,
                                 within_search(on_progress, i, trials, clock), group);
  }
  std::stable_sort(result.tried.begin(), result.tried.end(),
                   [](const Candidate& a, const Candidate& b) {
                     return a.loss.value_or(0) < b.loss.value_or(0);
                   });
  result.options = plan(result.tried.front());
  return result;
}

}  // namespace slice
