#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "libslice/format/gguf.h"
#include "libslice/model/config.h"
#include "libslice/model/families/config_keys.h"
#include "libslice/model/families/family.h"

namespace slice::models {

/// What the Gemma families with norms before and after every sublayer share.

/// Module paths of Gemma 2; Gemma 3 has two more.
const Names& gemma_names();

/// Everything but the layers that have a window, soft caps and rotary positions.
ModelConfig parse_gemma(const nlohmann::json& object, const std::string& family,
                        const SizeDefaults& defaults, const std::string& origin);
/// The same of a GGUF file, and rotary positions. Scores are scaled by the root of the head size, in
/// the model of this many layers by that of hidden size / heads, as in llama.cpp.
ModelConfig parse_gguf_gemma(const GgufFile& file, const std::string& family, int64_t large_layers);
/// Writes all keys but those of rotary positions.
nlohmann::json gemma_json(const ModelConfig& config);

/// A soft cap; `otherwise` where the key is missing, 0 for null.
/// @throws FormatError  it is not above 0
double parse_softcap(const nlohmann::json& object, const char* key, double otherwise,
                     const std::string& origin);

}  // namespace slice::models
