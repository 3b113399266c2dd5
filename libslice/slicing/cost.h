#pragma once

#include <cstdint>
#include <limits>

#include "libslice/checkpoint/checkpoint.h"
#include "libslice/device/device.h"
#include "libslice/method/plan.h"
#include "libslice/method/signal.h"
#include "libslice/slicing/slice_checkpoint.h"

namespace slice {

struct ModelAdapter;

/// What slice_model takes on the CPU.
struct ExpectedCost {
  /// Peak: weights in float32 with the head untied, the signal, a chunk, the libraries.
  int64_t host_bytes = 0;
  int64_t disk_bytes = 0;      ///< of the sliced model
  int64_t training_bytes = 0;  ///< of host_bytes, what training takes
  double flop = 0;  ///< forward pass, covariances, eigensolves (float64 ones counted twice)
  double gradient_flop = 0;  ///< of these, gradients of kRefit, which a search takes once
};

/// Training that is asked for (SliceOptions::recover).
struct Training {
  int64_t epochs = 0, window_tokens = 0;
};

/// From sizes alone.
/// @param sliced        what planned_config gave     @param tokens        calibration tokens
/// @param stored_bytes  bytes of a stored weight
ExpectedCost expected_cost(const ModelConfig& dense, const ModelConfig& sliced, Method method,
                           int64_t tokens, int64_t chunk_tokens, int64_t stored_bytes,
                           const Training& training = {});

/// What slice_checkpoint takes at most. A GPU with more memory than that is used up to half of what
/// is left for longer chunks.
struct LayerwiseCost {
  /// Of a GPU: the embedding or the head or two layers, the matrices of a site, a chunk of one
  /// window, signals kept there; 0 on the CPU.
  int64_t device_bytes = 0;
  int64_t host_bytes = 0;      ///< what is read ahead, signals kept there; on the CPU everything
  int64_t disk_bytes = 0;      ///< of the sliced model
  int64_t training_bytes = 0;  ///< of the device's, or on the CPU of host_bytes
  int64_t scratch_bytes = 0;   ///< of signals kept on the disk, while it runs
  SignalPlace signal = SignalPlace::kDevice;  ///< where the signal is kept; of two the farther one
  int64_t signal_bytes = 0;    ///< of a journal: the signals, twice while they are saved again
  int64_t layer_bytes = 0;     ///< of a journal: the bases of a layer; 0 of kRefit
  int64_t gradient_bytes = 0;  ///< of a journal: Γ of every site; 0 of kSliceGpt
  int64_t journal_bytes = 0;   ///< at most: `save_every` layers, all where that is not given
  double flop = 0;
};

/// From sizes alone.
/// @param sliced     what planned_config gave
/// @param tokens     of the calibration     @param context  of one window
/// @param layerwise  its device decides what is held
/// @param free       decides where the signal is kept; free_memory(device) to ask the machine
/// @param recover    epochs of training
LayerwiseCost expected_layerwise_cost(
    const Checkpoint& checkpoint, const ModelConfig& sliced, Method method, int64_t tokens,
    int64_t context, const LayerwiseOptions& layerwise,
    FreeMemory free = {.device = std::numeric_limits<int64_t>::max(),
                       .host = std::numeric_limits<int64_t>::max()},
    int64_t recover = 0);

namespace detail {

/// Tokens of a chunk: on a GPU what half of its free memory holds of the activations of the widest
/// sublayer, counted generously; on the CPU kHostChunkTokens.
int64_t fitting_chunk_tokens(const ModelAdapter& model);

/// Most bytes of a sublayer's hidden signal that refit keeps (hidden_signal.h): a third of a GPU's
/// free memory; on the CPU, whose free memory is shared with other processes, 2 GiB.
int64_t hidden_signal_bytes(at::Device device);

/// Layers whose weights are held together while gradients are taken layer by layer: on a GPU as
/// many as half of its free memory has room for, the sums of Γ counted; on the CPU √L, so that no
/// more signals are kept between the runs of layers than layers in one.
int64_t held_layers(const ModelConfig& dense, at::Device device, at::ScalarType dtype);

}  // namespace detail

}  // namespace slice
