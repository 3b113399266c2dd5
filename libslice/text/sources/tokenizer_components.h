#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "libslice/text/bpe.h"

namespace slice::detail {

/// Read the components of a tokenizer.json, which may be null, into the definition.
/// @throws FormatError  a component, or an option of one, that is not supported (named)
void read_normalizer(const nlohmann::json& component, BpeDefinition& definition);
/// Also sets the alphabet: kBytes with a ByteLevel, else kCharacters.
void read_pre_tokenizer(const nlohmann::json& component, BpeDefinition& definition);
void read_decoder(const nlohmann::json& component, BpeDefinition& definition);
/// @return the token that is put before a text, if any
std::optional<int64_t> read_post_processor(const nlohmann::json& component,
                                           const BpeDefinition& definition);

}  // namespace slice::detail
