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

namespace slice {

namespace {

/// Kept sizes that are tried, as shares of D. Below them it is cheaper to remove FFN channels, at
/// every budget measured (docs/results/quality.md).
constexpr double kKeptShares[] = {1.0, 0.9722, 0.9445, 0.9167, 0.8889, 0.8334};

/// The FFN widths of all layers, from the fewest channels to all of them, step by step.
struct Widths {
  int64_t last = 0;
  std::function<std::vector<int64_t>(int64_t)> at;
};

/// Where the head is sliced, as many in every layer, and no more than the narrowest has; otherwise
/// spread evenly, for counting.
Widths widths_of(const ModelConfig& dense, HeadMode head) {
  const std::vector<int64_t> all = dense.ffn_widths();
  if (head == HeadMode::kKeep) {
    const auto ranking = ChannelRanking::even(all, std::vector<int64_t>(all.size(), 1));
    return {ranking.steps(), [ranking](int64_t step) { return ranking.widths(step); }};
  }
  const auto [narrowest, widest] = std::minmax_element(all.begin(), all.end());
  const int64_t least = std::min((*widest + 5) / 6, *narrowest);  // a sixth, as in a ranking
  return {*narrowest - least, [least, layers = all.size()](int64_t step) {
            return std::vector<int64_t>(layers, least + step);
          }};
}

/// The form that is written of a candidate.
ModelConfig candidate_config(const ModelConfig& dense, SliceOptions options, int64_t kept,
                             std::vector<int64_t> ffn_sizes, bool tied) {
  options.kept = kept;
  options.keep_tie = tied;
  options.ffn_sizes = std::move(ffn_sizes);
  return written_config(planned_config(dense, options));
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

}  // namespace

std::vector<Candidate> candidates(const ModelConfig& dense, const SliceOptions& options) {
  check_options(options);
  const detail::Budget budget(dense, options);
  const Widths widths = widths_of(dense, options.head);
  SliceOptions even = options;  // a sliced head has layers of one width
  even.ffn_sizes.assign(dense.layers, 1);
  const int64_t mean = mean_coordinates(dense, even);
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
      const auto config = [&](int64_t step) {
        return candidate_config(dense, options, kept, widths.at(step), tied);
      };
      const int64_t step = budget.most(widths.last, config);
      if (step < 0) {
        smallest = std::min(smallest, budget.size(config(0)));
        continue;
      }
      const std::vector<int64_t> kept_channels = widths.at(step);
      const ModelConfig widest = config(step);
      const ParameterCount after = count_parameters(widest);
      const bool whole = kept == dense.hidden_size;  // stays tied either way: listed once
      if (after.exceeds(whole_model)) {
        grew = true;
      } else if ((!whole || found.empty() || found.front().kept != kept) &&
                 writable(widest, options, step == widths.last)) {
        found.push_back({kept,
                         std::accumulate(kept_channels.begin(), kept_channels.end(), int64_t{0}),
                         widest.tied_head, after, std::nullopt});
      }
      if (step == widths.last) break;  // smaller kept sizes would remove more than was asked
    }
  }
  SLICE_ARGUMENT_CHECK(!found.empty() || !grew,
                       "budget: every plan that reaches it stores more than the dense model, or "
                       "reads more for a token; slice asks for one of them");
  SLICE_ARGUMENT_CHECK(
      !found.empty() || !options.only_gguf, "budget: no plan that llama.cpp runs reaches it{}",
      options.head == HeadMode::kKeep ? "; with the head sliced there are more" : "");
  if (found.empty()) throw ArgumentError(budget.out_of_reach(smallest));
  return found;
}

}  // namespace slice
