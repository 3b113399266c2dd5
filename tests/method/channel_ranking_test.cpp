#include "libslice/method/channel_ranking.h"

#include <ATen/ATen.h>

#include <catch2/catch_all.hpp>
#include <ctime>
#include <limits>
#include <numeric>

#include "libslice/base/error.h"
#include "tests/support/matchers.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

using at::Tensor;
using namespace tests;
using Sizes = std::vector<int64_t>;

Tensor scores(std::initializer_list<double> values) {
  return at::tensor(std::vector<double>(values), at::kDouble);
}

int64_t sum(const Sizes& widths) {
  return std::accumulate(widths.begin(), widths.end(), int64_t{0});
}

TEST_CASE("a ranking keeps the best channels of all networks together") {
  // A sixth, rounded up, of 6 and of 7 channels stays whatever it is worth.
  const ChannelRanking two({scores({9, 8, 7, 6, 5, 4}), scores({0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 10})},
                           {1, 1});
  CHECK(two.steps() == 10);
  CHECK(two.widths(0) == Sizes{1, 2});
  CHECK(two.widths(2) == Sizes{3, 2});
  CHECK(two.widths(5) == Sizes{6, 2});
  CHECK(two.widths(7) == Sizes{6, 4});
  CHECK(two.widths(10) == Sizes{6, 7});
  // Of equals the first networks keep theirs.
  const ChannelRanking equal(std::vector<Tensor>(3, at::ones({6}, at::kDouble)), {1, 1, 1});
  CHECK(equal.widths(0) == Sizes{1, 1, 1});
  CHECK(equal.widths(4) == Sizes{5, 1, 1});
  CHECK(equal.widths(8) == Sizes{6, 4, 1});
}

TEST_CASE("widths of a ranking are multiples of their unit, or whole") {
  // Steps of two channels are worth 6.5, 4.5 and 2.5 (one alone: 2) and, of the other, 5 and 3.
  const ChannelRanking two({scores({9, 8, 7, 6, 5, 4, 3, 2, 2}), scores({7, 7, 6, 4, 3, 3})},
                           {2, 2});
  CHECK(two.widths(0) == Sizes{2, 2});
  const std::vector<Sizes> want = {{4, 2}, {4, 4}, {6, 4}, {6, 6}, {8, 6}, {9, 6}};
  REQUIRE(two.steps() == static_cast<int64_t>(want.size()));
  for (size_t i = 0; i < want.size(); ++i)
    CHECK(two.widths(static_cast<int64_t>(i) + 1) == want[i]);
  const ChannelRanking narrow({scores({1, 2, 3})}, {8});  // all that there is
  CHECK(narrow.steps() == 0);
  CHECK(narrow.widths(0) == Sizes{3});
}

TEST_CASE("more steps never narrow a network, and keep the better channels") {
  std::vector<Tensor> all;
  for (uint64_t network = 0; network < 4; ++network)
    all.push_back(gaussian({20 + static_cast<int64_t>(network)}, network + 1).exp());
  const ChannelRanking ranking(all, {1, 1, 1, 1});
  Sizes before = ranking.widths(0);
  CHECK(sum(before) == 16);
  for (int64_t steps = 0; steps <= ranking.steps(); ++steps) {
    CAPTURE(steps);
    const Sizes widths = ranking.widths(steps);
    double worst_kept = std::numeric_limits<double>::infinity(), best_gone = 0;
    for (size_t i = 0; i < all.size(); ++i) {
      const Tensor sorted = std::get<0>(all[i].sort(0, true));
      const int64_t F = sorted.size(0), least = (F + 5) / 6;
      REQUIRE(widths[i] >= std::max(least, before[i]));
      REQUIRE(widths[i] <= F);
      if (widths[i] > least) {
        worst_kept = std::min(worst_kept, sorted[widths[i] - 1].item<double>());
      }
      if (widths[i] < F) best_gone = std::max(best_gone, sorted[widths[i]].item<double>());
    }
    CHECK(sum(widths) == 16 + steps);
    CHECK(worst_kept >= best_gone);
    before = widths;
  }
}

TEST_CASE("without scores all networks keep the same share of what they can lose") {
  const auto ranking = ChannelRanking::even({24, 12, 24}, {1, 1, 1});
  CHECK(ranking.widths(0) == Sizes{4, 2, 4});
  CHECK(ranking.widths(25) == Sizes{14, 7, 14});
  CHECK(ranking.widths(26) == Sizes{15, 7, 14});
  CHECK(ranking.widths(50) == Sizes{24, 12, 24});
}

TEST_CASE("a ranking refuses steps out of range") {
  const ChannelRanking ranking(std::vector<Tensor>(2, at::ones({12}, at::kDouble)), {1, 1});
  CHECK_THROWS_NAMING(ranking.widths(-1), ArgumentError, "0 … 20 steps");
  CHECK_THROWS_NAMING(ranking.widths(21), ArgumentError, "got 21");
  CHECK_THROWS_NAMING(ChannelRanking({at::ones({12}, at::kDouble)}, {}), ArgumentError, "steps");
  CHECK_THROWS_NAMING(ChannelRanking({at::ones({12}, at::kDouble)}, {0}), ArgumentError, "got 0");
}

TEST_CASE("every number of channels that a search asked for was another sort of all scores") {
  // Of a model of 70B: a quarter of a second to sort, a few milliseconds a question. Before, each
  // question took as long as the sort.
  const std::vector<Tensor> all(80, gaussian({28672}, 1).exp());
  const std::clock_t begin = std::clock();
  const ChannelRanking ranking(all, Sizes(80, 1));
  int64_t kept = 0;
  for (int64_t question = 1; question <= 64; ++question)
    kept += sum(ranking.widths(ranking.steps() / 64 * question));
  const double seconds = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
  INFO(seconds << " s of the processor for " << ranking.steps() << " channels");
  CHECK(kept > 0);
  CHECK(seconds < 4);  // sorting for each took over a minute
}

}  // namespace
}  // namespace slice
