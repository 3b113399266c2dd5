#pragma once

#include <optional>
#include <string>

#include "libslice/text/bpe.h"
#include "libslice/text/detail/word_encoder.h"

namespace slice::detail {

/// One merge of two tokens.
/// @throws FormatError  a half or the whole is not a token (names `where` and the text)
MergeTable::Merge make_merge(const std::string& left, const std::string& right,
                             const TextMap<int32_t>& ids, int32_t priority,
                             const std::string& where);

/// The same from a line "left right". Tokens may hold spaces: the first space between two tokens
/// that form a third is the separator, of the first 256 in the line.
MergeTable::Merge read_merge_line(const std::string& line, const TextMap<int32_t>& ids,
                                  int32_t priority, const std::string& where);

/// The same; nothing where a half or the whole is not a token.
/// @throws FormatError  no space in the line
std::optional<MergeTable::Merge> find_merge_line(const std::string& line,
                                                 const TextMap<int32_t>& ids, int32_t priority,
                                                 const std::string& where);

}  // namespace slice::detail
