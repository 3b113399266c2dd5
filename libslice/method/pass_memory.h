#pragma once

#include <cstdint>

#include "libslice/method/plan.h"
#include "libslice/model/adapter.h"

namespace slice::detail {

/// Sizes that decide what a pass takes on the device beside the signal.
struct PassSizes {
  int64_t hidden_size = 0, element_bytes = 4;  ///< D; of weights and signal
  int64_t layer_bytes = 0, table_bytes = 0;  ///< of weights that come and go; of those that stay, 0
  int64_t widest = 0;  ///< outputs of a sublayer's readers and inputs of its writers
  int64_t hidden = 0;  ///< inputs of its writers
  bool refit = false;
};

/// The widest sublayer of a model, and its weights where they are placeholders.
PassSizes pass_sizes(const ModelAdapter& model, Method method);

/// Weights, the matrices of a site, activations of so many tokens, moments.
int64_t pass_bytes(const PassSizes& sizes, int64_t chunk_tokens);

}  // namespace slice::detail
