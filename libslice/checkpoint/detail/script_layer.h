#pragma once

#include <string>

#include "libslice/checkpoint/detail/script_scope.h"
#include "libslice/model/config.h"

namespace slice::detail {

/// What a layer's forward takes beside the stream.
struct ScriptInputs {
  bool turns = false;    ///< cosine, sine: of its rotary positions, (T, 1, r/2)
  bool windows = false;  ///< seen: what every query sees, (T, T); None where it sees all before it

  std::string parameters() const;  ///< of its methods
  std::string arguments() const;   ///< within these methods
};
ScriptInputs script_inputs(const ModelConfig& config, int64_t layer);

/// TorchScript source of a layer's methods, which do what the layer of a Decoder does:
///   attend(n, …)        normed stream (B, T, k) → what the output projection reads, (B, T, h·d)
///   feed_forward(n)     (B, T, k) → what the down projection reads, (B, T, F)
///   forward(x, …)       the stream before the layer (B, T, k_a) → after it, (B, T, k_b)
/// @param shapes  of all parameters of the model
std::string script_layer(const ModelConfig& config, const ScriptScope::Shapes& shapes,
                         int64_t layer);

}  // namespace slice::detail
