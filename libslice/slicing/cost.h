#pragma once

#include <cstdint>
#include <limits>

#include "libslice/checkpoint/checkpoint.h"
#include "libslice/device/device.h"
#include "libslice/method/plan.h"
#include "libslice/method/signal.h"
#include "libslice/slicing/slice_checkpoint.h"

namespace slice {

/// What slice_checkpoint takes at most, from sizes alone. A GPU with more memory than that is used
/// up to half of what is left for longer chunks.
struct LayerwiseCost {
  int64_t device_bytes = 0;  ///< of a GPU: the embedding or the head or two layers, the matrices of
                             ///< a site, a chunk of one window, signals that live there; 0 on the
                             ///< CPU
  int64_t host_bytes = 0;    ///< what is read ahead, signals that live there; on the CPU everything
  int64_t disk_bytes = 0;    ///< of the sliced model
  int64_t scratch_bytes = 0;                  ///< of signals that live on the disk, while it runs
  SignalPlace stream = SignalPlace::kDevice;  ///< where the signal lives; of two the farther one
  int64_t signal_bytes = 0;   ///< of a journal: the signal, twice while it is saved again
  int64_t layer_bytes = 0;    ///< of a journal: the bases of a layer
  int64_t journal_bytes = 0;  ///< at most: `save_every` layers, all where that is not given
  double flop = 0;
};

/// @param sliced  what planned_config gave     @param tokens, context  of the calibration, of one
/// window     @param pass  its device decides what is held
/// @param free  decides where the signal lives; free_memory(device) to ask the machine
LayerwiseCost expected_layerwise_cost(const Checkpoint& checkpoint, const ModelConfig& sliced,
                                      Method method, int64_t tokens, int64_t context,
                                      const LayerwiseOptions& pass,
                                      FreeMemory free = {
                                          .device = std::numeric_limits<int64_t>::max(),
                                          .host = std::numeric_limits<int64_t>::max()});

}  // namespace slice
