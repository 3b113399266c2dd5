#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "libslice/model/config.h"

namespace slice::models {

/// Keys that Cohere's Command R and its successors share: sizes, norms without β, parallel blocks,
/// logits times a scale, activation, tie, biases of attention, special tokens.
/// @param rope_theta  the default of rope_theta
/// @throws FormatError  also for heads that turn in part
ModelConfig parse_cohere_keys(const nlohmann::json& object, const std::string& family,
                              double rope_theta, const std::string& origin);
/// Writes the same keys.
nlohmann::json cohere_keys_json(const ModelConfig& config);

}  // namespace slice::models
