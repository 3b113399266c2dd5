#pragma once

#include "libslice/text/bpe.h"

namespace slice::detail {

/// Leaves out of a definition what no text can use, with a warning for each kind: tokens that are
/// not UTF-8, added tokens, named tokens and merges whose ids have no token, and a beginning token
/// to be added where none is named. Equal tokens stay, with a warning.
void drop_unusable(BpeDefinition& definition);

/// Whether a token is a text: not empty, and UTF-8.
bool is_usable(const std::string& token);

}  // namespace slice::detail
