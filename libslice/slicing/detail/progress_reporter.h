#pragma once

#include <c10/core/ScalarType.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "libslice/base/detail/stopwatch.h"
#include "libslice/base/progress.h"
#include "libslice/method/calibration_windows.h"
#include "libslice/method/signal.h"
#include "libslice/model/adapter.h"
#include "libslice/model/config.h"
#include "libslice/slicing/report.h"

namespace slice::detail {

/// Reports a slicing loop's progress to the caller, and times its sites.
class ProgressReporter {
 public:
  /// @param passes  runs of a sublayer over all tokens, in the whole loop
  /// @param tokens  of each
  /// @param steps   sites that the loop finds, which progress counts; absent: one a pass
  ProgressReporter(SliceReport& report, OnProgress on_progress, int64_t passes, int64_t tokens,
                   std::optional<int64_t> steps = std::nullopt)
      : report_(report),
        on_progress_(std::move(on_progress)),
        passes_(passes),
        tokens_(tokens),
        steps_(steps.value_or(passes)) {}

  void chunk_done(int64_t chunk_tokens);
  /// Tokens that passed until now.
  int64_t passed() const { return passed_; }
  /// A step that may have more passes is done: what is missing to so many tokens counts as passed.
  void count_up_to(int64_t tokens) { passed_ = std::max(passed_, tokens); }
  void note(const std::string& words);
  /// For SignalOptions: the device ran out of memory.
  void note_smaller_chunks(int64_t chunk_tokens);
  /// Notes where a signal is kept, and why unless the caller chose the place; of several, the
  /// farthest goes into the report.
  void signal_lives(const Signal& x, bool chosen);
  /// @param shares  of the variance along single directions (n), any order; undefined: no rotation
  void site_done(const std::string& name, int64_t k, double kept_variance,
                 const at::Tensor& shares = {});
  /// An earlier run made these passes already.
  void begin_after(int64_t passes) { begun_ = passes; }
  /// A site that an earlier run found, and the seconds it took.
  void site_recalled(const std::string& name, int64_t k, double kept_variance, double seconds);

 private:
  Progress progress() const;

  SliceReport& report_;
  OnProgress on_progress_;
  int64_t passes_, tokens_, steps_, passed_ = 0, begun_ = 0;
  SignalPlace farthest_ = SignalPlace::kDevice;
  Stopwatch clock_;
  double last_ = 0;
};

/// Says how much memory was held until now, when a phase ends.
void note_peak(std::vector<PeakReport>& peaks, const std::string& phase, at::Device device);

/// What both loops report before they begin: sizes, calibration, dtype, device.
void describe_run(SliceReport& report, const ModelAdapter& model, const CalibrationWindows& windows,
                  const std::vector<int64_t>& stream_sizes);

/// What it says of the model before and after; widths of its networks unless it has them.
/// @param written  of the weights
void describe_model(SliceReport& report, const ModelConfig& dense, const ModelConfig& sliced,
                    at::ScalarType written);

}  // namespace slice::detail
