#pragma once

#include <string>

#include "libslice/text/bpe.h"

namespace slice::detail {

/// Patterns that the readers share.
inline constexpr char kGpt2Words[] =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
inline constexpr char kNumber[] = R"(\p{N})";

/// Cuts words as llama.cpp's pre-tokenizer of this name does (pre_tokenizer_table.h), or as the
/// model's own tokenizer.json where the two differ. Also sets ignore_merges and adds_bos.
/// @return false for an unknown name; the definition is then unchanged
bool add_pre_tokenizer(const std::string& name, BpeDefinition& definition);

/// The name of the pre-tokenizer that cuts the words of the definition; empty where there is none.
std::string pre_tokenizer_name(const BpeDefinition& definition);

}  // namespace slice::detail
