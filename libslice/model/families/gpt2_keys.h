#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "libslice/model/config.h"

namespace slice::models {

/// What Transformers takes for missing keys.
struct Gpt2Defaults {
  int64_t hidden_size, layers, heads, vocabulary_size, context_length;
};

/// Sizes, norms, activation and special tokens under GPT-2's keys, which GPT-J shares.
/// @throws FormatError  as parse_sizes (config_keys.h)
ModelConfig parse_gpt2_keys(const nlohmann::json& object, const std::string& family,
                            const Gpt2Defaults& defaults, const std::string& origin);
/// Writes the same keys.
nlohmann::json gpt2_keys_json(const ModelConfig& config);

}  // namespace slice::models
