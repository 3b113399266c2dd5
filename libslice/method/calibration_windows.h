#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

namespace slice {

/// What a calibration window is for: three disjoint sets of every text.
/// (docs/method.md, "Calibration")
enum class WindowUse {
  kFit,      ///< moments and gradients
  kChoose,   ///< ridges and plans are compared on it; once they are chosen it is fitted too
  kHeldOut,  ///< reported losses: nothing that is written depends on it
};

/// A text that windows are of.
struct CalibrationText {
  std::string name = {};  ///< for the report
  /// What its moments count in their sum, Σ_d w_d A_d / n_d over n_d windows; 0 in every text: as
  /// much as it has windows, so that every window counts the same.
  double weight = 0;
};

/// The calibration windows of a run, of one text or several, and what each is for. Of fewer than
/// eight windows, and of a text that gives fewer than four, all are fitted; of others the last
/// sixteenth is held out and the eighth before it is for choices, one window of each at least.
class CalibrationWindows {
 public:
  /// Of one text. @param tokens  (N, T) int64, any device
  CalibrationWindows(
      at::Tensor tokens);  // NOLINT(google-explicit-constructor): windows as they are
  /// @param text_of  (N): of every window, the number of its text; those of a text in its order
  /// @throws ArgumentError  not one text a window; weights of which some are not positive
  CalibrationWindows(at::Tensor tokens, std::vector<CalibrationText> texts,
                     std::vector<int64_t> text_of);

  const at::Tensor& tokens() const { return tokens_; }
  const std::vector<CalibrationText>& texts() const { return texts_; }
  /// The text of every window.
  const std::vector<int64_t>& text_of() const { return text_of_; }
  /// What a token of a text counts in sums over all windows that are not held out: 1 on the mean.
  double token_weight(int64_t text) const;
  /// The same for the text of each of `n` windows from `first` on.
  std::vector<double> window_weights(int64_t first, int64_t n) const;

  /// Rows of `tokens`, text after text: of a use, and of one text.
  std::vector<int64_t> rows(WindowUse use) const;
  std::vector<int64_t> rows(WindowUse use, int64_t text) const;
  /// The number of windows of a text, whatever they are for.
  int64_t windows(int64_t text) const;

  /// At most `most` of the windows that are fitted, spread evenly over every text.
  CalibrationWindows fitted(int64_t most) const;
  /// Those of a trial, in which a plan is judged by what it holds out, some of the windows for
  /// choices: it fits at most 7/8 of `most`, and scores a quarter of `most` beside them. What this
  /// set holds out is left out.
  CalibrationWindows trial(int64_t most) const;

 private:
  /// Some rows of another set, for uses of their own.
  CalibrationWindows(const CalibrationWindows& all, const std::vector<int64_t>& rows,
                     std::vector<WindowUse> uses);
  /// Of the windows of a text that are fitted, the last ones are put to these uses.
  void assign(int64_t text, int64_t choose, int64_t held_out);

  at::Tensor tokens_;  // (N, T)
  std::vector<CalibrationText> texts_;
  std::vector<int64_t> text_of_;  // of each window
  std::vector<WindowUse> uses_;   // of each window
};

}  // namespace slice
