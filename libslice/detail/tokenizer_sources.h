#pragma once

#include <cstdint>
#include <filesystem>

#include "libslice/bpe.h"

namespace slice {
class GgufFile;
}

namespace slice::detail {

/// The byte-level BPE in a GGUF's metadata.
/// @throws FormatError  a tokenizer.ggml.model or .pre that is not known, or malformed metadata.
BpeDefinition read_gguf_tokenizer(const GgufFile& file);

/// A llama2.c tokenizer file: int32 longest token, then for each token float32 score, int32 length,
/// bytes. Encodes as llama2.c's run.c does: of all neighbours that make a token the pair with the
/// highest score is joined, the leftmost of equals first. Without `<0xNN>` tokens unknown
/// characters become token 0.
/// @throws FormatError  truncated, longer than its tokens, a length outside [1, 2^20], a token
/// twice, a NaN.
BpeDefinition read_llama2c_tokenizer(const std::filesystem::path& path, int64_t vocabulary_size);

}  // namespace slice::detail
