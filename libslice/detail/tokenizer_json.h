#pragma once

#include <string>
#include <vector>

#include "libslice/bpe.h"

namespace slice::detail {

/// Patterns shared by the readers.
inline constexpr char kGpt2Words[] =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
inline constexpr char kNumber[] = R"(\p{N})";
/// U+2581, which stands for a space in SentencePiece's tokens.
inline constexpr char kSpaceMark[] = "\xE2\x96\x81";

/// The texts of a Hugging Face tokenizer; those that were not there are empty.
struct TokenizerJson {
  std::string directory;  ///< for messages
  std::string tokenizer, tokenizer_config, special_tokens_map, generation_config;
};

/// @throws FormatError  malformed, or a component that is not supported (names it).
BpeDefinition read_tokenizer_json(const TokenizerJson& texts);

/// tokenizer.json and tokenizer_config.json of a definition, giving the same ids there.
/// With kCharacters, spaces inside tokens are written as U+2581, so that character in a text is
/// read as a space.
std::vector<Tokenizer::File> write_tokenizer_json(const BpeDefinition& definition);

}  // namespace slice::detail
