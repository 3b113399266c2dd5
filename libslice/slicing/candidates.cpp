#include "libslice/slicing/candidates.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <numeric>
#include <utility>

#include "libslice/base/detail/check.h"
#include "libslice/checkpoint/gguf_write.h"
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
    candidate.tied = config.tied_head;
    candidate.after = count_parameters(form);
    found = Found{candidate, !gguf_obstacle(config), step == widths.last};
    if (found->whole || budget.used_up(form)) break;
  }
  return found;
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
  options.ffn_sizes = candidate.ffn_sizes;
  return options;
}

std::vector<Candidate> candidates(const ModelConfig& dense, const SliceOptions& options) {
  check_options(options);
  const detail::Budget budget(dense, options);
  const ParameterCount before = count_parameters(dense);
  std::vector<Candidate> all;
  double smallest = std::numeric_limits<double>::infinity();
  bool grew = false;
  for (const bool tied : ties(dense, options)) {
    for (const int64_t kept : kept_sizes(dense, options)) {
      const auto found = fitting(dense, options, budget, kept, tied, smallest);
      if (!found) continue;
      // One that keeps D stays tied either way: listed once.
      const bool listed = kept == dense.hidden_size && !all.empty() && all.front().kept == kept;
      if (found->candidate.after.exceeds(before)) {
        grew = true;
      } else if (!listed && (found->gguf || !options.only_gguf)) {
        all.push_back(found->candidate);
      }
      if (found->whole) break;  // smaller kept sizes would remove more than was asked
    }
  }
  SLICE_ARGUMENT_CHECK(!all.empty() || !grew,
                       "budget: every plan that reaches it stores more than the dense model, or "
                       "reads more for a token; slice asks for one of them");
  SLICE_ARGUMENT_CHECK(
      !all.empty() || !options.only_gguf, "budget: no plan that llama.cpp runs reaches it{}",
      options.head == HeadMode::kKeep ? "; with the head sliced there are more" : "");
  if (all.empty()) throw ArgumentError(budget.out_of_reach(smallest));
  return all;
}

}  // namespace slice
