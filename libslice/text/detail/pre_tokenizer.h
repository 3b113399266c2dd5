#pragma once

#include <string>

#include "libslice/text/bpe.h"

namespace slice::detail {

/// Patterns that the readers share.
inline constexpr char kGpt2Words[] =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
inline constexpr char kNumber[] = R"(\p{N})";

/// Cuts words as llama.cpp's pre-tokenizer of this name does, or as the model's own tokenizer.json
/// where the two differ: default, gpt-2, phi-2, smollm, llama-bpe (llama3, llama-v3), qwen2. Also
/// sets ignore_merges and adds_bos, which are true for Llama 3 only.
/// @return false for an unknown name; the definition is then unchanged
bool add_pre_tokenizer(const std::string& name, BpeDefinition& definition);

/// The name of the pre-tokenizer that cuts the words of the definition; empty where there is none.
std::string pre_tokenizer_name(const BpeDefinition& definition);

}  // namespace slice::detail
