#pragma once

#include <string>
#include <utility>

#include "libslice/base/detail/stopwatch.h"
#include "libslice/base/progress.h"
#include "libslice/method/signal.h"
#include "libslice/model/adapter.h"
#include "libslice/slicing/report.h"

namespace slice::detail {

/// Tells the caller where a slicing loop is, and counts its seconds.
class ProgressReporter {
 public:
  /// @param steps  sublayer passes of the whole loop     @param tokens  of one pass
  ProgressReporter(SliceReport& report, OnProgress on_progress, int64_t steps, int64_t tokens)
      : report_(report), on_progress_(std::move(on_progress)), steps_(steps), tokens_(tokens) {}

  void chunk_done(int64_t chunk_tokens);
  void note(const std::string& words);
  /// The device ran out of memory: what a Signal tells.
  void note_smaller_chunks(int64_t chunk_tokens);
  /// Where a signal lives, and why unless the caller chose it; the farthest goes into the report.
  void signal_lives(const Signal& x, bool chosen);
  void site_done(const std::string& name, int64_t k, double kept_variance);
  /// So many steps need not be gone again.
  void begin_behind(int64_t steps) { begun_ = steps; }
  /// A site that an earlier process found, in so many seconds.
  void site_recalled(const std::string& name, int64_t k, double kept_variance, double seconds);

 private:
  Progress progress() const;

  SliceReport& report_;
  OnProgress on_progress_;
  int64_t steps_, tokens_, passed_ = 0, begun_ = 0;
  SignalPlace farthest_ = SignalPlace::kDevice;
  Stopwatch clock_;
  double last_ = 0;
};

/// Tokens that may pass a sublayer together on a device: half of what is free for the activations
/// of the widest sublayer, counted generously; on the CPU kHostChunkTokens.
int64_t fitting_chunk_tokens(const ModelAdapter& model);

/// What both slicing loops report before they begin: sizes, calibration, dtype, device.
void describe_run(SliceReport& report, const ModelAdapter& model, const at::Tensor& tokens,
                  const std::vector<int64_t>& stream_sizes);

}  // namespace slice::detail
