#include "libslice/method/calibration_windows.h"

#include <ATen/ATen.h>

#include <catch2/catch_all.hpp>
#include <numeric>
#include <set>

#include "libslice/base/error.h"
#include "tests/support/matchers.h"

namespace slice {
namespace {

using at::Tensor;

/// Windows that hold their number, of texts whose numbers of windows these are, which take turns.
CalibrationWindows mixed(const std::vector<int64_t>& counts, std::vector<double> weights = {}) {
  std::vector<int64_t> text_of;
  for (int64_t row = 0; row < *std::ranges::max_element(counts); ++row)
    for (size_t text = 0; text < counts.size(); ++text)
      if (row < counts[text]) text_of.push_back(static_cast<int64_t>(text));
  std::vector<CalibrationText> texts(counts.size());
  for (size_t i = 0; i < weights.size(); ++i) texts[i].weight = weights[i];
  const auto n = std::ssize(text_of);
  return {at::arange(n).unsqueeze(1).repeat({1, 3}), texts, text_of};
}

/// For every text, how many windows are fitted, for choices and held out.
std::vector<std::vector<size_t>> split(const CalibrationWindows& windows) {
  std::vector<std::vector<size_t>> counts;
  for (int64_t text = 0; text < std::ssize(windows.texts()); ++text) {
    counts.emplace_back();
    for (const WindowUse use : {WindowUse::kFit, WindowUse::kChoose, WindowUse::kHeldOut})
      counts.back().push_back(windows.rows(use, text).size());
  }
  return counts;
}

using Split = std::vector<std::vector<size_t>>;

TEST_CASE("every text gives its share to fitting, choices and what is held out") {
  CHECK(split(mixed({1})) == Split{{1, 0, 0}});
  CHECK(split(mixed({7})) == Split{{7, 0, 0}});
  CHECK(split(mixed({8})) == Split{{6, 1, 1}});
  CHECK(split(mixed({128})) == Split{{104, 16, 8}});
  CHECK(split(mixed({4, 4})) == Split{{2, 1, 1}, {2, 1, 1}});
  CHECK(split(mixed({3, 4})) == Split{{3, 0, 0}, {4, 0, 0}});  // seven in all
  CHECK(split(mixed({64, 64})) == Split{{52, 8, 4}, {52, 8, 4}});
  CHECK(split(mixed({3, 100})) == Split{{3, 0, 0}, {82, 12, 6}});
  CHECK(split(CalibrationWindows(at::zeros({16, 5}, at::kLong))) == Split{{13, 2, 1}});
}

TEST_CASE(
    "the three sets are disjoint and hold every window, the held-out ones last of each text") {
  const CalibrationWindows windows = mixed({40, 9, 2});
  std::set<int64_t> all;
  for (const WindowUse use : {WindowUse::kFit, WindowUse::kChoose, WindowUse::kHeldOut})
    for (const int64_t row : windows.rows(use)) CHECK(all.insert(row).second);
  CHECK(std::ssize(all) == 51);
  for (const int64_t text : {0, 1}) {
    const auto last = [&](WindowUse use) { return windows.rows(use, text).back(); };
    CHECK(last(WindowUse::kFit) < windows.rows(WindowUse::kChoose, text).front());
    CHECK(last(WindowUse::kChoose) < windows.rows(WindowUse::kHeldOut, text).front());
  }
}

TEST_CASE("some windows that are fitted are some of every text: every other one was of one text") {
  const CalibrationWindows windows = mixed({64, 64});
  for (const int64_t most : {8, 26, 52, 64}) {
    CAPTURE(most);
    const CalibrationWindows some = windows.fitted(most);
    REQUIRE(some.tokens().size(0) == most);
    CHECK(some.windows(0) == most / 2);
    CHECK(some.windows(1) == most / 2);
    const std::vector<int64_t> fit = windows.rows(WindowUse::kFit);
    for (int64_t i = 0; i < most; ++i) {
      const auto row = some.tokens()[i][0].item<int64_t>();
      CHECK(std::ranges::count(fit, row) == 1);
      CHECK(some.text_of()[i] == windows.text_of()[row]);
    }
  }
  CHECK(windows.fitted(1000).tokens().size(0) == 104);
}

TEST_CASE("a trial holds out windows for choices, and knows nothing of those held out") {
  const CalibrationWindows windows = mixed({64, 64}), trial = windows.trial(32);
  CHECK(split(trial) == Split{{13, 1, 4}, {13, 1, 4}});
  const auto numbers = [](const CalibrationWindows& of, WindowUse use) {
    std::set<int64_t> found;
    for (const int64_t row : of.rows(use)) found.insert(of.tokens()[row][0].item<int64_t>());
    return found;
  };
  const auto within = [](const std::set<int64_t>& some, const std::set<int64_t>& all) {
    return std::ranges::includes(all, some);
  };
  CHECK(within(numbers(trial, WindowUse::kHeldOut), numbers(windows, WindowUse::kChoose)));
  CHECK(within(numbers(trial, WindowUse::kChoose), numbers(windows, WindowUse::kFit)));
  CHECK(within(numbers(trial, WindowUse::kFit), numbers(windows, WindowUse::kFit)));
  CHECK(split(mixed({8}).trial(32)) == Split{{5, 1, 1}});
}

TEST_CASE("texts count by their weights, whatever number of windows they have") {
  const CalibrationWindows even = mixed({96, 32});
  CHECK(even.token_weight(0) == 1);
  CHECK(even.token_weight(1) == 1);
  const CalibrationWindows windows = mixed({96, 32}, {1, 3});
  const auto summed = [&](int64_t text) {
    return static_cast<double>(windows.rows(WindowUse::kFit, text).size() +
                               windows.rows(WindowUse::kChoose, text).size());
  };
  const double one = windows.token_weight(0) * summed(0), two = windows.token_weight(1) * summed(1);
  CHECK(two == Catch::Approx(3 * one).epsilon(1e-12));
  CHECK(one + two == Catch::Approx(summed(0) + summed(1)).epsilon(1e-12));
  const CalibrationWindows some = windows.fitted(10);
  CHECK(some.token_weight(1) * static_cast<double>(some.windows(1)) ==
        Catch::Approx(3 * some.token_weight(0) * static_cast<double>(some.windows(0)))
            .epsilon(1e-12));
}

TEST_CASE("windows without a text and weights that are not positive are refused") {
  const Tensor tokens = at::zeros({2, 3}, at::kLong);
  CHECK_THROWS_AS(CalibrationWindows(tokens, {{}}, {0}), ArgumentError);
  CHECK_THROWS_AS(CalibrationWindows(tokens, {{}}, {0, 1}), ArgumentError);
  CHECK_THROWS_AS(CalibrationWindows(tokens, {{}}, {0, -1}), ArgumentError);
  CHECK_THROWS_NAMING(CalibrationWindows(tokens, {{"a", 1}, {"b", 0}}, {0, 1}), ArgumentError,
                      "weight");
  CHECK_THROWS_AS(CalibrationWindows(tokens, {{"a", -1}}, {0, 0}), ArgumentError);
}

}  // namespace
}  // namespace slice
