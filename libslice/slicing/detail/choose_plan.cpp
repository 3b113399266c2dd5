#include "libslice/slicing/detail/choose_plan.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/stopwatch.h"
#include "libslice/checkpoint/stock.h"
#include "libslice/device/detail/tf32.h"
#include "libslice/method/channel_ranking.h"
#include "libslice/method/channels.h"
#include "libslice/slicing/detail/budget.h"
#include "libslice/slicing/detail/units.h"

namespace slice::detail {

using at::Tensor;

namespace {

constexpr int64_t kTrialWindows = 32;

/// Gives a candidate the channels of the first ranking that uses up the budget, else of the last.
/// One of one layer may cost more than one of another, so what was counted with channels spread
/// evenly is counted again.
void rank_channels(const ModelConfig& dense, const SliceOptions& options, const Budget& budget,
                   const std::vector<ChannelRanking>& rankings, Candidate& candidate) {
  for (const ChannelRanking& ranking : rankings) {
    const auto written = [&](int64_t steps) {
      candidate.ffn_sizes = ranking.widths(steps);
      return written_config(planned_config(dense, candidate_options(options, candidate)));
    };
    const int64_t steps = budget.most(ranking.steps(), written);
    if (steps < 0) continue;
    const ModelConfig config = written(steps);
    candidate.after = count_parameters(config);
    if (budget.used_up(config)) return;
  }
}

/// The same of all candidates whose layers may differ; those that have come to store or read more
/// than the dense model go.
void rank_channels(const ModelConfig& dense, const SliceOptions& options,
                   const std::vector<Tensor>& scores, std::vector<Candidate>& candidates) {
  const Budget budget(dense, options);
  std::vector<ChannelRanking> rankings;
  for (const auto& units : channel_units(dense, options)) rankings.emplace_back(scores, units);
  for (Candidate& candidate : candidates)
    if (!candidate.even) rank_channels(dense, options, budget, rankings, candidate);
  const ParameterCount before = count_parameters(dense);
  std::erase_if(candidates, [&](const Candidate& c) { return c.after.exceeds(before); });
  SLICE_ARGUMENT_CHECK(!candidates.empty(), "budget: no plan reaches it");
}

/// Progress of a trial as a part of all of them.
OnProgress within_search(const OnProgress& on_progress, int64_t trial, int64_t trials,
                         const Stopwatch& clock) {
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

std::vector<Candidate> choose_plan(const ModelConfig& dense, ModelAdapter& model,
                                   const CalibrationWindows& windows, const SliceOptions& options,
                                   std::vector<Candidate> tried, const std::vector<Tensor>& gammas,
                                   const OnProgress& on_progress, const ProcessGroup& group,
                                   const HeldWeights& weights, const LayerHooks& hooks) {
  const Tf32Scope exact(false);
  if (!dense.routed()) {  // of experts all candidates are even
    const std::vector<Tensor> scores =
        channel_scores(model, windows.fitted(kTrialWindows), gammas, on_progress, group, weights);
    rank_channels(dense, options, scores, tried);
  }
  const CalibrationWindows trial = windows.trial(kTrialWindows);
  const Stopwatch clock;
  const auto trials = std::ssize(tried);
  for (int64_t i = 0; trials > 1 && i < trials; ++i) {
    Candidate& candidate = tried[i];
    candidate.loss = trial_loss(model, trial, candidate_options(options, candidate),
                                within_search(on_progress, i, trials, clock), gammas, hooks, group);
  }
  std::stable_sort(tried.begin(), tried.end(), [](const Candidate& a, const Candidate& b) {
    return a.loss.value_or(0) < b.loss.value_or(0);
  });
  const auto chosen =
      std::ranges::find_if(tried, [&](const Candidate& c) { return may_choose(options, c); });
  std::rotate(tried.begin(), chosen, chosen + 1);
  return tried;
}

}  // namespace slice::detail
