#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "libslice/model/config.h"
#include "libslice/model/families/config_keys.h"
#include "libslice/model/families/family.h"

namespace slice::models {

/// What a relative of LLaMA takes for keys that its config.json lacks.
struct LlamaDefaults {
  SizeDefaults sizes;
  int64_t ffn_size = 0;
  double norm_eps = 1e-6, rope_theta = 10000.0;
  const char* activation = "silu";
  bool tied_head = false;
  bool turns_in_part = false;  ///< a part of each head may
  std::optional<int64_t> bos_token = std::nullopt, eos_token = std::nullopt,
                         pad_token = std::nullopt;
};

/// Sizes, norms, rotary positions, activation, tie and special tokens under LLaMA's keys.
/// @throws FormatError  also for heads that turn in part where the family's do not
ModelConfig parse_llama_keys(const nlohmann::json& object, const std::string& family,
                             const LlamaDefaults& defaults, const std::string& origin);
/// Writes the same keys.
nlohmann::json llama_keys_json(const ModelConfig& config);

/// LLaMA's module paths without a gate.
const Names& ungated_llama_names();
/// Those of a network with norms on outputs alone, and of queries and keys.
const Names& output_norm_names();

/// A flag; `otherwise` where it is missing or null.
bool flag_or(const nlohmann::json& object, const char* key, bool otherwise,
             const std::string& origin);

}  // namespace slice::models
