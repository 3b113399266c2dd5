#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "libslice/text/bpe.h"
#include "libslice/text/detail/word_encoder.h"

namespace slice::detail {

/// Reads an object of tokens and their ids, together with the definition's added tokens, into its
/// tokens. Every id from 0 on is taken by exactly one of them.
/// @return the ids by token. @param where  file and key, for messages.
/// @throws FormatError  not an object, an id that is no integer, out of range, or taken twice.
TextMap<int32_t> read_vocabulary(const nlohmann::json& vocabulary, const std::string& where,
                                 BpeDefinition& definition);

}  // namespace slice::detail
