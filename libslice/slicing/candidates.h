#pragma once

#include <vector>

#include "libslice/method/plan.h"
#include "libslice/model/config.h"

namespace slice {

/// The candidates for a budget, from sizes alone: kept sizes from D downwards, each with as many
/// FFN channels as the budget leaves; at most eleven. Sizes are those of the form that save_model
/// writes. A plan that stores more than the dense model, or reads more for a token, is none: of a
/// tied head untied a budget of the block weights alone would not know.
///
/// @param options  exactly one of remove, remove_blocks and fit_bytes; form of shortcuts, head and
///                 rounding; slice, kept and ffn_sizes are ignored
/// @throws ArgumentError  a budget out of range, or one that no candidate reaches (says what the
///                        smallest one and the dense model take)
std::vector<Candidate> candidates(const ModelConfig& dense, const SliceOptions& options);

}  // namespace slice
