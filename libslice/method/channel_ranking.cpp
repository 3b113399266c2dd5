#include "libslice/method/channel_ranking.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "libslice/base/detail/check.h"

namespace slice {

using at::Tensor;

namespace {

constexpr int64_t kLeastShare = 6;  // no network keeps less than a sixth

int64_t rounded_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

}  // namespace

template <typename Score>
void ChannelRanking::add(int64_t width, int64_t unit, Score&& score) {
  SLICE_ARGUMENT_CHECK(unit >= 1, "channels: want steps of at least 1, got {}", unit);
  const size_t network = least_.size();
  const int64_t least = std::min(width, rounded_up((width + kLeastShare - 1) / kLeastShare, unit));
  const int64_t steps = (width - least + unit - 1) / unit;
  for (int64_t i = 0; i < steps; ++i) {
    const int64_t begin = least + i * unit, channels = std::min(unit, width - begin);
    order_.push_back({score(begin, channels, i, steps), network, channels});
  }
  least_.push_back(least);
}

void ChannelRanking::rank() {
  std::stable_sort(order_.begin(), order_.end(),
                   [](const Step& a, const Step& b) { return a.score > b.score; });
}

ChannelRanking::ChannelRanking(const std::vector<Tensor>& scores,
                               const std::vector<int64_t>& units) {
  SLICE_ARGUMENT_CHECK(scores.size() == units.size(), "channels: want {} steps, got {}",
                       scores.size(), units.size());
  for (size_t i = 0; i < scores.size(); ++i) {
    const Tensor sorted = std::get<0>(scores[i].sort(0, /*descending=*/true)).contiguous();
    const double* best = sorted.const_data_ptr<double>();
    add(sorted.size(0), units[i], [&](int64_t begin, int64_t channels, int64_t, int64_t) {
      double sum = 0;
      for (int64_t c = begin; c < begin + channels; ++c) sum += best[c];
      return sum / static_cast<double>(channels);
    });
  }
  rank();
}

ChannelRanking ChannelRanking::even(const std::vector<int64_t>& widths,
                                    const std::vector<int64_t>& units) {
  ChannelRanking ranking;
  for (size_t i = 0; i < widths.size(); ++i) {
    ranking.add(widths[i], units[i], [](int64_t, int64_t, int64_t step, int64_t steps) {
      return -static_cast<double>(step + 1) / static_cast<double>(steps);
    });
  }
  ranking.rank();
  return ranking;
}

std::vector<int64_t> ChannelRanking::widths(int64_t steps) const {
  SLICE_ARGUMENT_CHECK(steps >= 0 && steps <= this->steps(),
                       "channels: want 0 … {} steps of the ranking, got {}", this->steps(), steps);
  std::vector<int64_t> widths = least_;
  for (int64_t i = 0; i < steps; ++i) widths[order_[i].network] += order_[i].channels;
  return widths;
}

}  // namespace slice
