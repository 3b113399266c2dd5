#pragma once

#include <cstdint>
#include <vector>

#include "libslice/format/gguf_header.h"
#include "libslice/text/bpe.h"

namespace slice::detail {

/// A tokenizer as the metadata of a GGUF file, giving the same ids there: `gpt2` for byte-level
/// BPE whose words one of llama.cpp's pre-tokenizers cuts, `llama` for SentencePiece's BPE, whose
/// scores then are the order of its merges.
/// @param vocabulary  rows of the embedding: tokens that the tokenizer has none of become unused
/// @throws FormatError  words that llama.cpp has no name for, or pieces without bytes to fall back
/// to.
void write_gguf_tokenizer(const BpeDefinition& definition, int64_t vocabulary, GgufHeader& header);

/// Special tokens, which every kind of tokenizer keeps under the same keys; only the first two of
/// `eos` have one.
void write_gguf_special_tokens(std::optional<int64_t> bos, const std::vector<int64_t>& eos,
                               GgufHeader& header);

}  // namespace slice::detail
