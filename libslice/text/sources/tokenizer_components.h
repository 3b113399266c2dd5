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
/// Without one, tokens are written as they are with spaces between them.
void read_decoder(const nlohmann::json& component, BpeDefinition& definition);
/// @return the token that is put before a text, if any
std::optional<int64_t> read_post_processor(const nlohmann::json& component,
                                           const BpeDefinition& definition);

/// {"String": "…"} or {"Regex": "…"} in a component's `pattern`.
struct ComponentPattern {
  std::string text;
  bool regex = false;
};
ComponentPattern read_component_pattern(const nlohmann::json& component, const std::string& where);

/// "<file>: <what>", for messages.
std::string component_place(const BpeDefinition& definition, const char* what);
[[noreturn]] void refuse_component(const BpeDefinition& definition, const char* what,
                                   const std::string& type);

}  // namespace slice::detail
