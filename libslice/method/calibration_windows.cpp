#include "libslice/method/calibration_windows.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

#include "libslice/base/detail/check.h"

namespace slice {

using at::Tensor;

namespace {

constexpr int64_t kFewest = 8, kFewestOfText = 4;  // windows of which some are not fitted
constexpr int64_t kChooseShare = 8, kHeldOutShare = 16;

int64_t share(int64_t n, int64_t part) { return std::max<int64_t>(1, n / part); }

/// At most `most` of them, evenly spread.
std::vector<int64_t> spread(const std::vector<int64_t>& rows, int64_t most) {
  const int64_t n = std::ssize(rows), count = std::min(n, most);
  std::vector<int64_t> some;
  for (int64_t i = 0; i < count; ++i) some.push_back(rows[i * n / count]);
  return some;
}

Tensor select_rows(const Tensor& tokens, const std::vector<int64_t>& rows) {
  return tokens.index_select(0, at::tensor(rows, at::kLong).to(tokens.device()));
}

}  // namespace

CalibrationWindows::CalibrationWindows(Tensor tokens)
    : CalibrationWindows(tokens, {{}},
                         std::vector<int64_t>(tokens.dim() > 0 ? tokens.size(0) : 0, 0)) {}

CalibrationWindows::CalibrationWindows(Tensor tokens, std::vector<CalibrationText> texts,
                                       std::vector<int64_t> text_of)
    : tokens_(std::move(tokens)),
      texts_(std::move(texts)),
      text_of_(std::move(text_of)),
      uses_(text_of_.size(), WindowUse::kFit) {
  const auto count = std::ssize(texts_);
  SLICE_ARGUMENT_CHECK(
      std::ssize(text_of_) == (tokens_.dim() > 0 ? tokens_.size(0) : 0) &&
          std::ranges::all_of(text_of_, [&](int64_t text) { return text >= 0 && text < count; }),
      "calibration: want one of {} texts for every window, got {} for {}", count, text_of_.size(),
      tokens_.dim() > 0 ? tokens_.size(0) : 0);
  const bool even = std::ranges::all_of(texts_, [](const auto& text) { return text.weight == 0; });
  for (const CalibrationText& text : texts_)
    SLICE_ARGUMENT_CHECK(even || (text.weight > 0 && text.weight < 1e9),
                         "calibration: want a positive weight for every text, got {}", text.weight);
  if (std::ssize(text_of_) < kFewest) return;
  for (int64_t text = 0; text < count; ++text) {
    const int64_t n = windows(text);
    if (n >= kFewestOfText) assign(text, share(n, kChooseShare), share(n, kHeldOutShare));
  }
}

CalibrationWindows::CalibrationWindows(const CalibrationWindows& all,
                                       const std::vector<int64_t>& rows,
                                       std::vector<WindowUse> uses)
    : tokens_(select_rows(all.tokens_, rows)), texts_(all.texts_), uses_(std::move(uses)) {
  for (const int64_t row : rows) text_of_.push_back(all.text_of_[row]);
}

void CalibrationWindows::assign(int64_t text, int64_t choose, int64_t held_out) {
  for (int64_t row = std::ssize(text_of_) - 1; row >= 0 && choose + held_out > 0; --row) {
    if (text_of_[row] != text || uses_[row] != WindowUse::kFit) continue;
    uses_[row] = held_out > 0 ? WindowUse::kHeldOut : WindowUse::kChoose;
    --(held_out > 0 ? held_out : choose);
  }
}

double CalibrationWindows::token_weight(int64_t text) const {
  if (texts_[text].weight == 0) return 1;
  const auto summed = [&](int64_t d) -> double {
    return static_cast<double>(rows(WindowUse::kFit, d).size() +
                               rows(WindowUse::kChoose, d).size());
  };
  double windows = 0, weights = 0;
  for (int64_t d = 0; d < std::ssize(texts_); ++d) {
    windows += summed(d);
    if (summed(d) > 0) weights += texts_[d].weight;
  }
  return texts_[text].weight / weights * windows / std::max(summed(text), 1.0);
}

std::vector<double> CalibrationWindows::window_weights(int64_t first, int64_t n) const {
  std::vector<double> by_text, weights;
  for (int64_t text = 0; text < std::ssize(texts_); ++text) by_text.push_back(token_weight(text));
  for (int64_t row = first; row < first + n; ++row) weights.push_back(by_text[text_of_[row]]);
  return weights;
}

std::vector<int64_t> CalibrationWindows::rows(WindowUse use, int64_t text) const {
  std::vector<int64_t> found;
  for (int64_t row = 0; row < std::ssize(text_of_); ++row)
    if (text_of_[row] == text && uses_[row] == use) found.push_back(row);
  return found;
}

std::vector<int64_t> CalibrationWindows::rows(WindowUse use) const {
  std::vector<int64_t> found;
  for (int64_t text = 0; text < std::ssize(texts_); ++text)
    for (const int64_t row : rows(use, text)) found.push_back(row);
  return found;
}

int64_t CalibrationWindows::windows(int64_t text) const {
  return std::ranges::count(text_of_, text);
}

CalibrationWindows CalibrationWindows::fitted(int64_t most) const {
  const std::vector<int64_t> some = spread(rows(WindowUse::kFit), most);
  return {*this, some, std::vector<WindowUse>(some.size(), WindowUse::kFit)};
}

CalibrationWindows CalibrationWindows::trial(int64_t most) const {
  std::vector<int64_t> some = spread(rows(WindowUse::kFit), share(7 * most, 8));
  std::vector<WindowUse> uses(some.size(), WindowUse::kFit);
  for (const int64_t row : spread(rows(WindowUse::kChoose), share(most, 4))) {
    some.push_back(row);
    uses.push_back(WindowUse::kHeldOut);
  }
  CalibrationWindows windows(*this, some, uses);
  for (int64_t text = 0; text < std::ssize(texts_); ++text) {
    const int64_t n = std::ssize(windows.rows(WindowUse::kFit, text));
    if (n >= kFewestOfText) windows.assign(text, share(n, kChooseShare), 0);
  }
  return windows;
}

}  // namespace slice
