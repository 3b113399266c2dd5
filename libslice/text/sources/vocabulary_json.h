#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "libslice/text/bpe.h"
#include "libslice/text/detail/word_encoder.h"

namespace slice::detail {

/// Reads an object of tokens and their ids, together with the definition's added tokens, into its
/// tokens; an id without a token stays empty. Ignored with a warning: an id below 0 or far beyond
/// the number of tokens, and of two tokens with one id the later one. An added token that the
/// vocabulary has under another id takes that one.
/// @param where  file and key, for messages
/// @return the ids by token
/// @throws FormatError  not an object, or an id that is not an integer
TextMap<int32_t> read_vocabulary(const nlohmann::json& vocabulary, const std::string& where,
                                 BpeDefinition& definition);

/// How many ids without a token a vocabulary may have: room for what fine-tunes leave free, none
/// for an id that is a mistake.
inline constexpr int64_t kMostHoles = 1 << 20;

/// Places a token at an id, and makes room for it. @return false where the id is not in [0, limit)
/// or belongs to another token
bool place_token(const std::string& token, int64_t id, int64_t limit,
                 std::vector<std::string>& tokens);

}  // namespace slice::detail
