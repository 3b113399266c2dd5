#include "libslice/slicing/candidates.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <numeric>
#include <utility>

#include "libslice/base/detail/check.h"
#include "libslice/checkpoint/output_form.h"
#include "libslice/checkpoint/stock.h"
#include "libslice/method/channel_ranking.h"
#include "libslice/slicing/detail/budget.h"
#include "libslice/slicing/detail/units.h"

namespace slice {

namespace {

/// Kept sizes that are tried beside D, as shares of it. Below them it is cheaper to remove FFN
/// channels, at every budget measured (docs/results/quality.md).
constexpr double kKeptShares[] = {0.9722, 0.9445, 0.9167, 0.8889, 0.8334};

/// The FFN widths of all layers, from the fewest channels to all of them, step by step.
struct Widths {
  int64_t last = 0;
  std::function<std::vector<int64_t>(int64_t)> at;
};

/// As many in every layer, and no more than the narrowest has.
Widths equal_widths(const std::vector<int64_t>& all, const std::vector<int64_t>& units) {
  const auto [narrowest, widest] = std::minmax_element(all.begin(), all.end());
  const int64_t most = *narrowest, unit = units[narrowest - all.begin()],
                sixth = (*widest + 5) / 6;  // as in a ranking
  const int64_t least = std::min((sixth + unit - 1) / unit * unit, most);
  return {(most - least + unit - 1) / unit, [=, layers = all.size()](int64_t step) {
            return std::vector<int64_t>(layers, std::min(least + step * unit, most));
          }};
}

/// Spread evenly, for counting: a search ranks the channels.
Widths spread_widths(const std::vector<int64_t>& all, const std::vector<int64_t>& units) {
  const auto ranking = ChannelRanking::even(all, units);
  return {ranking.steps(), [ranking](int64_t step) { return ranking.widths(step); }};
}

/// Whether a tied head is untied, keeps its tie, or both are tried. Where only block weights count,
/// an untied head costs nothing and loses less; a stock checkpoint has no map before its head.
std::vector<bool> ties(const ModelConfig& dense, const SliceOptions& options) {
  if (options.keep_tie) return {true};
  if (!dense.tied_head || options.remove_blocks || options.head == HeadMode::kSlice) return {false};
  return {false, true};
}

/// The kept sizes, largest first.
std::vector<int64_t> kept_sizes(const ModelConfig& dense, const SliceOptions& options) {
  SliceOptions equal = options;  // a sliced head has layers of one width
  equal.ffn_sizes.assign(dense.layers, 1);
  const bool stock = options.head == HeadMode::kSlice;
  const int64_t unit = detail::kept_unit(dense, options, stock),
                mean = mean_coordinates(dense, equal);
  std::vector<int64_t> sizes = {dense.hidden_size};
  if (dense.norms_outputs()) return sizes;
  for (const double share : kKeptShares) {
    const auto most = static_cast<int64_t>(share * static_cast<double>(dense.hidden_size));
    const int64_t kept = most / unit * unit - mean;
    if (kept >= 1 && kept < sizes.back()) sizes.push_back(kept);
  }
  return sizes;
}

/// A candidate, and what was found out about it.
struct Found {
  Candidate candidate;
  bool gguf = false;   // llama.cpp runs it
  bool whole = false;  // it keeps all channels
};

/// The candidate of a kept size that keeps the most channels, in the first units that use up the
/// budget, else in the last; nothing where the fewest are too many: that size is `smallest` then.
std::optional<Found> fitting(const ModelConfig& dense, const SliceOptions& options,
                             const detail::Budget& budget, int64_t kept, bool tied,
                             double& smallest) {
  const std::vector<int64_t> all = dense.ffn_widths();
  const bool even = options.head == HeadMode::kSlice;
  std::optional<Found> found;
  for (const auto& units : detail::channel_units(dense, options)) {
    const Widths widths = even ? equal_widths(all, units) : spread_widths(all, units);
    Candidate candidate;
    candidate.kept = kept;
    candidate.even = even;
    candidate.tied = tied;
    const auto planned = [&](int64_t step) {
      candidate.ffn_sizes = widths.at(step);
      return planned_config(dense, candidate_options(options, candidate));
    };
    const auto written = [&](int64_t step) { return written_config(planned(step)); };
    int64_t step = budget.most(widths.last, written);
    if (step < 0) {
      smallest = std::min(smallest, budget.size(written(0)));
      continue;
    }
    // Layers that may differ come to do so: those that are equal by chance are no other form.
    const bool differ = !even && all.size() > 1 && step > 0 && step < widths.last;
    if (differ && planned(step).ffn_sizes.empty()) --step;
    const ModelConfig config = planned(step), form = written_config(config);
    const OutputForm runs = output_form(config);
    candidate.stock = even && loads_like(runs, output_form(dense));
    candidate.tied = config.tied_head;
    candidate.after = count_parameters(form);
    found = Found{candidate, !runs.gguf.empty(), step == widths.last};
    if (found->whole || budget.used_up(form)) break;
  }
  return found;
}

/// Adds the candidates of an arrangement: options.head kSlice is the even one.
/// @return  whether one was left out since it takes more than the dense model
bool add_candidates(const ModelConfig& dense, const SliceOptions& options, bool only_stock,
                    const detail::Budget& budget, double& smallest, std::vector<Candidate>& all) {
  const ParameterCount before = count_parameters(dense);
  bool grew = false;
  for (const bool tied : ties(dense, options)) {
    for (const int64_t kept : kept_sizes(dense, options)) {
      const auto found = fitting(dense, options, budget, kept, tied, smallest);
      if (!found) continue;
      const Candidate& candidate = found->candidate;
      // One that keeps D stays tied either way, and its only layer cannot differ from others.
      const bool listed = std::ranges::any_of(all, [&](const Candidate& other) {
        return kept == dense.hidden_size && other.kept == kept &&
               (dense.layers == 1 || other.even == candidate.even);
      });
      const bool wanted =
          !listed && (candidate.stock || !only_stock) && (found->gguf || !options.only_gguf);
      if (candidate.after.exceeds(before)) {
        grew = true;
      } else if (wanted) {
        all.push_back(candidate);
      }
      if (found->whole) break;  // smaller kept sizes would remove more than was asked
    }
  }
  return grew;
}

}  // namespace

int64_t Candidate::channels() const {
  return std::accumulate(ffn_sizes.begin(), ffn_sizes.end(), int64_t{0});
}

SliceOptions candidate_options(SliceOptions options, const Candidate& candidate) {
  options.remove = options.remove_blocks = std::nullopt;
  options.fit_bytes = std::nullopt;
  options.kept = candidate.kept;
  options.keep_tie = candidate.tied;
  options.head = candidate.even ? HeadMode::kSlice : HeadMode::kKeep;
  options.ffn_sizes = candidate.ffn_sizes;
  return options;
}

bool may_choose(const SliceOptions& options, const Candidate& candidate) {
  return options.layout == Layout::kFree || candidate.stock;
}

std::vector<Candidate> candidates(const ModelConfig& dense, const SliceOptions& options) {
  check_options(options);
  const detail::Budget budget(dense, options);
  std::vector<Candidate> all;
  double smallest = std::numeric_limits<double>::infinity();
  SliceOptions even = options, free = options;
  even.head = HeadMode::kSlice;
  const bool asked = options.head == HeadMode::kSlice;
  bool grew = add_candidates(dense, even, /*only_stock=*/!asked, budget, smallest, all);
  const bool may_differ = !asked && !dense.norms_outputs() && !dense.routed();
  if (may_differ && add_candidates(dense, free, /*only_stock=*/false, budget, smallest, all))
    grew = true;
  SLICE_ARGUMENT_CHECK(!all.empty() || !grew,
                       "budget: every plan that reaches it stores more than the dense model, or "
                       "reads more for a token; slice asks for one of them");
  SLICE_ARGUMENT_CHECK(!all.empty() || !options.only_gguf,
                       "budget: no plan that llama.cpp runs reaches it");
  if (all.empty()) throw ArgumentError(budget.out_of_reach(smallest));
  SLICE_ARGUMENT_CHECK(
      std::ranges::any_of(all, [&](const Candidate& c) { return may_choose(options, c); }),
      "budget: no plan reaches it that whatever loads the model loads; of the layout 'free' there "
      "are {}",
      all.size());
  return all;
}

std::vector<Candidate> layerwise_candidates(const ModelConfig& dense, const SliceOptions& asked) {
  std::vector<Candidate> all = candidates(dense, asked);
  std::erase_if(all, [&](const Candidate& c) { return c.tied && c.kept < dense.hidden_size; });
  SLICE_ARGUMENT_CHECK(
      std::ranges::any_of(all, [&](const Candidate& c) { return may_choose(asked, c); }),
      "layer by layer: every plan that reaches the budget keeps a tied head, whose map needs the "
      "embedding");
  return all;
}

std::optional<double> least_loss(const std::vector<Candidate>& tried, bool only_stock) {
  std::optional<double> least;
  for (const Candidate& c : tried)
    if (c.loss && (c.stock || !only_stock)) least = std::min(*c.loss, least.value_or(*c.loss));
  return least;
}

}  // namespace slice
