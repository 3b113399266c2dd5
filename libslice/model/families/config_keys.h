#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "libslice/base/detail/json.h"
#include "libslice/model/config.h"

namespace slice::models {

/// Keys of a config.json that several families share. `origin` is the file, for messages. Every
/// function throws FormatError for a key of the wrong kind.

/// hidden_size, layers, heads, head size, vocabulary, context, special tokens. A null or missing
/// num_key_value_heads is the number of heads. @throws FormatError  also for quantization_config.
ModelConfig parse_sizes(const nlohmann::json& object, const std::string& family,
                        const std::string& origin);
/// The end tokens of a config.json or generation_config.json: an integer, a list of them, or none.
std::vector<int64_t> parse_eos_tokens(const nlohmann::json& object, const std::string& origin);
/// Writes the same keys.
nlohmann::json sizes_json(const ModelConfig& config);

/// Rotary base, scaling and rotary_size, from the top level (rope_theta, rope_scaling) or, since
/// Transformers 5, from rope_parameters.
/// @param rotated  the default of partial_rotary_factor
void parse_rope(const nlohmann::json& object, ModelConfig& config, double rotated,
                const std::string& origin);
/// Writes rope_theta, rope_scaling and partial_rotary_factor.
void write_rope(const ModelConfig& config, nlohmann::json& object);

/// The activation of this name. @throws FormatError  an unknown name
Activation parse_activation(const std::string& name, const std::string& origin);
std::string activation_name(Activation activation);

/// Refuses an option whose value this library does not run.
/// @param runs  the only supported value, also that of a missing key
inline void refuse_unless(const nlohmann::json& object, const char* key, bool runs,
                          const std::string& origin) {
  const bool value = detail::find_field<bool>(object, key, origin).value_or(runs);
  SLICE_FORMAT_CHECK(value == runs, "{}: {} {} is not supported", origin, key, value);
}

}  // namespace slice::models
