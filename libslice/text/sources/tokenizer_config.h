#pragma once

#include "libslice/text/bpe.h"
#include "libslice/text/sources/tokenizer_texts.h"

namespace slice::detail {

/// Reads the tokens that added_tokens.json and tokenizer_config.json's `added_tokens_decoder` add
/// to a vocabulary, and marks as special those that the configurations name.
/// @throws FormatError  an id of another token, or one that leaves a gap
void read_added_tokens(const TokenizerTexts& texts, BpeDefinition& definition);

/// Reads which tokens begin, end and pad a text, and whether the first is added, from
/// tokenizer_config.json, special_tokens_map.json and every end token of generation_config.json and
/// config.json; and the chat template from chat_template.jinja, else from tokenizer_config.json. What these do
/// not say keeps its value. An OPT model (config.json) gets no beginning token, although OPT's
/// tokenizer_config.json asks for one.
/// @throws FormatError  malformed, a template that is not UTF-8, or a name that is not a token
void read_tokenizer_config(const TokenizerTexts& texts, BpeDefinition& definition);

}  // namespace slice::detail
