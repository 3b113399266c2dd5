#pragma once

#include "libslice/format/gguf.h"
#include "libslice/model/config.h"

namespace slice::models {

/// Whether the file's layers have experts. One without a router is the network of all tokens, which
/// some conversions count.
bool gguf_routed(const GgufFile& file);

/// A mixture of experts from `<architecture>.expert_count` and `expert_used_count`.
/// @param normalised  whether llama.cpp's network of this architecture divides the shares by their
///                    sum, of which most files say nothing
/// @throws FormatError  no experts, more of them used than there are, or a mixture of another kind:
///                      shared experts, groups, layers without experts, shares that are no softmax
ExpertSizes parse_gguf_experts(const GgufFile& file, bool normalised);

}  // namespace slice::models
