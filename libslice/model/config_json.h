#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "libslice/model/config.h"

namespace slice {

/// Reads a Hugging Face `config.json`, or the one this library writes for a sliced model.
///
/// @param text    the JSON text, untrusted
/// @param origin  the file's name, for messages
/// @throws FormatError  not JSON, a key missing or of the wrong kind, sizes that contradict each
///                      other or are out of range (each at most 2^24, layers at most 1000), an
///                      architecture or an option (rope scaling except linear and llama3, another
///                      activation, a norm after the block) that this library does not run
ModelConfig parse_config(std::string_view text, const std::string& origin);

/// The `config.json` of a model: the family's own keys for a dense model; for a sliced one
/// model_type "sliced_<family>", D as hidden_size, the per-site sizes under "stream_sizes", the
/// form of its shortcuts under "shortcut", FFN widths that differ under "ffn_sizes".
///
/// @param dtype  "float32", "float16" or "bfloat16", the type of the stored weights
std::string config_json(const ModelConfig& config, const std::string& dtype);

/// The configuration with further end tokens, each once; an id outside the vocabulary can end no
/// text and is left out.
ModelConfig with_end_tokens(ModelConfig config, const std::vector<int64_t>& ids);

/// The configuration with the source's `generation_config.json`: its text, which saving carries
/// through, and its end tokens.
/// @param text    untrusted; nothing is changed when it is empty
/// @param origin  the file's name, for messages
/// @throws FormatError  not a JSON object, or end tokens that are no integers
ModelConfig with_generation_config(ModelConfig config, std::string text, const std::string& origin);

/// The `generation_config.json` next to it. That of the source as it is, sampling defaults and all,
/// unless it lacks an end token; without one special token ids alone.
std::string generation_config_json(const ModelConfig& config);

}  // namespace slice
