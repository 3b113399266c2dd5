#pragma once

#include <cstdint>

#include "libslice/method/plan.h"
#include "libslice/model/adapter.h"

namespace slice::detail {

/// Sizes that decide how much memory a slicing loop takes on the device beside the signal.
struct WorkingSizes {
  int64_t hidden_size = 0, element_bytes = 4;  ///< D; of weights and signal
  /// Of the weights of a layer, and of the embedding or head, where they are loaded and dropped; 0
  /// where the model is held.
  int64_t layer_bytes = 0, table_bytes = 0;
  int64_t widest = 0;  ///< outputs of a sublayer's readers and inputs of its writers
  int64_t hidden = 0;  ///< inputs of its writers
  bool refit = false;
  int64_t choosing_texts = 1;  ///< whose windows for choices have moments of their own
  int64_t trained = 0;         ///< weights of the largest sublayer, where they are trained
};

/// Those of a model's widest sublayer; weights that are placeholders count as loaded and dropped.
/// @param trains  whether sublayers are trained
WorkingSizes working_sizes(const ModelAdapter& model, Method method, bool trains = false);

/// Everything beside the signal and training: weights, the matrices of a site, activations of so many tokens,
/// moments.
int64_t working_bytes(const WorkingSizes& sizes, int64_t chunk_tokens);
/// Of that: a sublayer's activations for so many tokens, and refit's moments of [h | x̂ | z].
int64_t activation_bytes(const WorkingSizes& sizes, int64_t chunk_tokens);
int64_t moment_bytes(const WorkingSizes& sizes);
/// What training a sublayer takes on windows of so many tokens, beside its weights: Adam's float32
/// master and two means, gradients and their sums, the best weights and those it began with,
/// and the activations and errors of a step. 0 where none is trained.
int64_t training_bytes(const WorkingSizes& sizes, int64_t window_tokens);

}  // namespace slice::detail
