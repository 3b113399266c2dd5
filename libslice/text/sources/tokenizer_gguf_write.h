#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "libslice/format/gguf_header.h"
#include "libslice/text/bpe.h"

namespace slice::detail {

/// Writes a tokenizer as the metadata of a GGUF file, with the same ids: `gpt2` for byte-level BPE
/// whose words one of llama.cpp's pre-tokenizers cuts, `llama` for SentencePiece's BPE, whose
/// scores are then the order of its merges.
/// @param vocabulary  rows of the embedding; rows without a token become unused tokens, tokens
///                    without a row are left out
/// @throws FormatError  no pre-tokenizer of llama.cpp cuts these words, or a vocabulary of
///                      characters without byte tokens
void write_gguf_tokenizer(const BpeDefinition& definition, int64_t vocabulary, GgufHeader& header);

/// Special tokens, which have the same keys for every kind of tokenizer; a GGUF file has keys for
/// the first three of `eos` alone.
void write_gguf_special_tokens(std::optional<int64_t> bos, const std::vector<int64_t>& eos,
                               std::optional<int64_t> padding, GgufHeader& header);

}  // namespace slice::detail
