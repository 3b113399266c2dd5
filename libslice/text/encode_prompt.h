#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "libslice/text/tokenizer.h"

namespace slice {

/// A text that a model is to continue, as ids: special tokens written out in it are recognised, and
/// one bos_token() comes first with a tokenizer that adds_bos().
/// @throws FormatError  as Tokenizer::encode
std::vector<int64_t> encode_prompt(const Tokenizer& tokenizer, std::string_view text);

}  // namespace slice
