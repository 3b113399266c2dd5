#pragma once

#include <vector>

#include "libslice/text/bpe.h"
#include "libslice/text/sources/tokenizer_texts.h"

namespace slice::detail {

/// U+2581, the space in SentencePiece's tokens.
inline constexpr char kSpaceMark[] = "\xE2\x96\x81";

/// @throws FormatError  malformed, or a component that is not supported (named)
BpeDefinition read_tokenizer_json(const TokenizerTexts& texts);

/// tokenizer.json and tokenizer_config.json of a definition, with the same ids. With kCharacters,
/// spaces inside tokens are written as U+2581, so that character in a text is read as a space.
std::vector<Tokenizer::File> write_tokenizer_json(const BpeDefinition& definition);

}  // namespace slice::detail
