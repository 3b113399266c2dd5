#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "libslice/text/bpe.h"

namespace slice::detail {

void replace_all_inplace(std::string& text, std::string_view from, std::string_view to);

/// The text after all normalisations, in order.
/// @param at_start  the text begins where the whole text begins
std::string normalized(std::string text, const std::vector<Normalizer>& normalizers, bool at_start);

}  // namespace slice::detail
