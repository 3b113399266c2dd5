#pragma once

#include "libslice/text/bpe.h"
#include "libslice/text/sources/tokenizer_texts.h"

namespace slice::detail {

/// Reads the tokens that added_tokens.json and tokenizer_config.json's `added_tokens_decoder` add
/// to a vocabulary, and marks those as special that the configurations name.
/// @throws FormatError  an id taken by another token, or one that leaves a hole.
void read_added_tokens(const TokenizerTexts& texts, BpeDefinition& definition);

/// Reads which tokens begin, end and pad a text, and whether the first is put in front:
/// tokenizer_config.json, special_tokens_map.json, every end token of generation_config.json; and
/// the chat template of chat_template.jinja, else of tokenizer_config.json. What they do not say
/// stays as it is. An OPT model (config.json) gets no beginning token, although
/// OPT's own tokenizer_config.json asks for one.
/// @throws FormatError  malformed, or a name that is no token.
void read_tokenizer_config(const TokenizerTexts& texts, BpeDefinition& definition);

}  // namespace slice::detail
