#pragma once

#include <string>
#include <vector>

#include "libslice/text/bpe.h"

namespace slice::detail {

/// Every way in which two tokens form a third, the highest score first: of all neighbours that form
/// a token the pair with the highest score is joined. Equal scores share a priority, so position
/// decides among them.   (SentencePiece's BPE, llama.cpp's, llama2.c's)
/// @param takes_part  by id; false for a token that is neither half nor whole of a merge
std::vector<MergeTable::Merge> merges_from_scores(const std::vector<std::string>& tokens,
                                                  const std::vector<float>& scores,
                                                  const std::vector<bool>& takes_part);

}  // namespace slice::detail
