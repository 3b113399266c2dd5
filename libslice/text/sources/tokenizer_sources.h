#pragma once

#include <cstdint>
#include <filesystem>

#include "libslice/text/bpe.h"
#include "libslice/text/sources/tokenizer_texts.h"

namespace slice {
class GgufFile;
}

namespace slice::detail {

/// The tokenizer in the metadata of a GGUF file: `gpt2` (byte-level BPE) or `llama`
/// (SentencePiece's BPE), with llama.cpp's defaults for absent keys.
/// @throws FormatError  an unknown tokenizer.ggml.model or .pre, or malformed metadata
BpeDefinition read_gguf_tokenizer(const GgufFile& file);

/// A SentencePiece model of type BPE (tokenizer.model): the ids are those of SentencePiece. Read
/// with protozero, since libsentencepiece exports a protobuf whose symbols are LibTorch's as well.
/// @throws FormatError  malformed, another type (UNIGRAM), a normalisation that changes letters, or
///                      another option that is not supported (named)
BpeDefinition read_sentencepiece_tokenizer(const TokenizerTexts& texts);

/// GPT-2's two files, vocab.json and merges.txt. tokenizer_config.json's tokenizer_class selects
/// how words are cut (GPT2, CodeGen, Qwen2; GPT-2's without it).
/// @throws FormatError  malformed, a duplicate id or one out of range, a merge whose parts are not
///                      tokens
BpeDefinition read_vocab_merges_tokenizer(const TokenizerTexts& texts);

/// A llama2.c tokenizer file: int32 longest token, then for each token float32 score, int32 length,
/// bytes. Encodes as llama2.c's run.c does: of all neighbours that form a token the pair with the
/// highest score is joined, the leftmost of equals first. Without `<0xNN>` tokens unknown
/// characters become token 0.
/// @throws FormatError  truncated, longer than its tokens, a length outside [1, 2^20], a duplicate
///                      token, a NaN
BpeDefinition read_llama2c_tokenizer(const std::filesystem::path& path, int64_t vocabulary_size);

}  // namespace slice::detail
