#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "libslice/text/bpe.h"
#include "libslice/text/detail/word_encoder.h"

namespace slice::detail {

/// Reads an object of tokens and their ids, together with the definition's added tokens, into its
/// tokens. Every id from 0 up belongs to exactly one of them.
/// @param where  file and key, for messages
/// @return the ids by token
/// @throws FormatError  not an object, an id that is not an integer, out of range, or a duplicate
TextMap<int32_t> read_vocabulary(const nlohmann::json& vocabulary, const std::string& where,
                                 BpeDefinition& definition);

}  // namespace slice::detail
