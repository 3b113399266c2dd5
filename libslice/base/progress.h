#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace slice {

/// One word about how far a long call is.
struct Progress {
  std::string phase;            ///< "calibrate", "slice", "score", "save"
  int64_t step = 0, steps = 0;  ///< sublayers, windows or tensors done, of all
  double kept_variance = 0;     ///< of the site just sliced; 0 elsewhere
  double tokens_per_second =
      0;  ///< calibration or scoring tokens that passed a sublayer or the model
  double seconds = 0, eta = 0;  ///< since the call began; expected until it ends
  std::string note = {};        ///< something a person should know, once; empty nearly always
};

/// Called between steps, on the calling thread. To stop the call, throw (slice::Interrupted): it
/// unwinds and leaves nothing behind on disk but what slice_checkpoint's journal keeps to go on
/// from.
using OnProgress = std::function<void(const Progress&)>;

}  // namespace slice
