#include "libslice/slicing/search.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/stopwatch.h"
#include "libslice/checkpoint/model.h"
#include "libslice/checkpoint/stock.h"
#include "libslice/device/detail/tf32.h"
#include "libslice/method/channel_ranking.h"
#include "libslice/method/channels.h"
#include "libslice/method/gradient.h"
#include "libslice/model/decoder.h"
#include "libslice/slicing/detail/budget.h"
#include "libslice/slicing/detail/refit_model.h"

namespace slice {

using at::Tensor;

namespace {

constexpr int64_t kTrialWindows = 32;

/// The plan of a candidate. Where layers may differ, its channels are those of the ranking; one of
/// one layer may cost more than one of another, so what was counted with channels spread evenly is
/// counted again.
SliceOptions ranked_plan(const ModelConfig& dense, const SliceOptions& options,
                         const detail::Budget& budget, const ChannelRanking& ranking,
                         Candidate& candidate) {
  SliceOptions planned = options;
  planned.remove = planned.remove_blocks = std::nullopt;
  planned.fit_bytes = std::nullopt;
  planned.kept = candidate.kept;
  planned.keep_tie = candidate.tied;
  planned.ffn_sizes.assign(dense.layers, candidate.channels / dense.layers);
  const auto written = [&](int64_t steps) {
    planned.ffn_sizes = ranking.widths(steps);
    return written_config(planned_config(dense, planned));
  };
  if (options.head == HeadMode::kKeep) {
    const int64_t steps = budget.most(ranking.steps(), written);
    SLICE_ARGUMENT_CHECK(steps >= 0, "budget: no plan reaches it with hidden size {}",
                         candidate.kept);
    candidate.after = count_parameters(written(steps));
    candidate.channels =
        std::accumulate(planned.ffn_sizes.begin(), planned.ffn_sizes.end(), int64_t{0});
  }
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
  const ChannelRanking ranking(
      channel_scores(adapter, windows.fitted(kTrialWindows), result.gammas, on_progress, group),
      std::vector<int64_t>(decoder.config().layers, 1));
  const detail::Budget budget(decoder.config(), options);
  const CalibrationWindows trial = windows.trial(kTrialWindows);
  const auto plan = [&](Candidate& candidate) {
    return ranked_plan(decoder.config(), options, budget, ranking, candidate);
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
