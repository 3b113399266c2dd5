#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace slice {

/// The channels of all feed-forward networks in one order, best first, by steps of some channels of
/// one network: so many first steps say how many channels each network keeps. At least a sixth of
/// each stays, and the channels beyond that are ranked by the mean score of a step, of equals those
/// of the first network first.                                     (docs/method.md, "Channels")
class ChannelRanking {
 public:
  /// @param scores  of every network (F) float64 on the CPU, as channel_scores gives them
  /// @param units   channels of a step of each network: its widths are multiples of it, or F
  /// Cost: sorts all scores once.
  ChannelRanking(const std::vector<at::Tensor>& scores, const std::vector<int64_t>& units);
  /// Without scores: every network keeps the same share of what it can lose.
  static ChannelRanking even(const std::vector<int64_t>& widths, const std::vector<int64_t>& units);

  int64_t steps() const { return static_cast<int64_t>(order_.size()); }
  /// Channels that each network keeps of the first `steps` steps: with none the fewest, with all F.
  /// More steps never narrow a network. Cost: one pass over the steps.
  /// @throws ArgumentError  steps outside 0 … steps()
  std::vector<int64_t> widths(int64_t steps) const;

 private:
  ChannelRanking() = default;

  struct Step {
    double score = 0;
    size_t network = 0;
    int64_t channels = 0;
  };

  /// Adds a network, whose step `i` of `n` has the score that `score(i, n, first channel)` gives.
  template <typename Score>
  void add(int64_t width, int64_t unit, Score&& score);
  void rank();

  std::vector<int64_t> least_;
  std::vector<Step> order_;
};

}  // namespace slice
