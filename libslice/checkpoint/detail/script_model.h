#pragma once

#include <string>
#include <utility>
#include <vector>

#include "libslice/checkpoint/detail/script_scope.h"
#include "libslice/model/config.h"

namespace slice::detail {

/// TorchScript source of a model's forward: tokens (B, T) int64 → logits (B, T, V) float32, by the
/// layers' own (script_layer.h).
/// @param shapes  of all parameters of the model
std::string script_model(const ModelConfig& config, const ScriptScope::Shapes& shapes);

/// What this source reads of the model beside parameters, float64 vectors by name: rotary
/// frequencies, radians per position.
std::vector<std::pair<std::string, std::vector<double>>> script_constants(
    const ModelConfig& config);

}  // namespace slice::detail
