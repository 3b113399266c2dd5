#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace slice {

/// How far a long call is.
struct Progress {
  std::string phase;            ///< "calibrate", "slice", "score", "save"
  int64_t step = 0, steps = 0;  ///< sublayers, windows or tensors done, of all
  double kept_variance = 0;     ///< of the site just sliced; 0 elsewhere
  /// Calibration or scoring tokens that passed a sublayer or the model.
  double tokens_per_second = 0;
  double seconds = 0, eta = 0;  ///< since the call began; expected until it ends
  std::string note = {};        ///< something a person should know, once; nearly always empty
};

/// Called between steps, on the calling thread. To stop the call, throw (slice::Interrupted): it
/// unwinds and leaves nothing on disk except the journal that slice_checkpoint resumes from.
using OnProgress = std::function<void(const Progress&)>;

}  // namespace slice
