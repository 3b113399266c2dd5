#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "libslice/method/plan.h"
#include "libslice/model/config.h"

namespace slice {

/// A way to reach a budget: a kept size, and how many FFN channels stay.
struct Candidate {
  int64_t kept = 0;  ///< k
  /// FFN width of each layer. Where layers may differ, spread evenly until a search has ranked the
  /// channels.
  std::vector<int64_t> ffn_sizes;
  /// Every layer keeps as many channels, and the head's site is sliced like the others.
  bool even = false;
  bool stock = false;          ///< loads_like() the dense model (output_form.h)
  bool tied = false;           ///< the head stays tied to the embedding
  ParameterCount after;        ///< of the form that save_model writes
  std::optional<double> loss;  ///< of held-out tokens, nats, where it was tried

  int64_t channels() const;  ///< of all layers together
};

/// The candidates for a budget, from sizes alone: kept sizes from D downwards, each with as many
/// FFN channels as the budget leaves. First those that keep as many in every layer and slice the
/// head's site too, as far as they are stock, then those whose layers may differ and whose head is
/// kept; at most seventeen. HeadMode::kSlice: the first kind alone, stock or not. Sizes are those
/// of the form that save_model writes. A plan that stores more than the dense model, or reads more
/// for a token, is none: of a tied head untied a budget of the block weights alone would not know.
/// Of a model with norms on outputs all keep D and one width.
///
/// Hidden sizes that are written and FFN widths are multiples of options.round. Where that is
/// absent, of 32; widths of 256 from 4096 channels on, where the budget is then used up to 1 %; a
/// stock LLaMA with biases keeps whole heads; hidden sizes below 256 and widths below 1024 are
/// multiples of smaller powers of two.                          (docs/method.md, "Plan search")
///
/// @param options  exactly one of remove, remove_blocks and fit_bytes; form of shortcuts, head and
///                 rounding; slice, kept and ffn_sizes are ignored
/// @throws ArgumentError  a budget out of range, or one that no candidate reaches (says what the
///                        smallest one and the dense model take), or none of the layout
std::vector<Candidate> candidates(const ModelConfig& dense, const SliceOptions& options);

/// Whether a search with these options may choose it.
bool may_choose(const SliceOptions& options, const Candidate& candidate);

/// The options that slice by a candidate, in place of the budget.
SliceOptions candidate_options(SliceOptions options, const Candidate& candidate);

/// Those of them that are tried layer by layer: not the ones that keep a tied head and rotate its
/// embedding, whose map needs all of it.
/// @throws ArgumentError  as candidates; none of them is left that may be chosen
std::vector<Candidate> layerwise_candidates(const ModelConfig& dense, const SliceOptions& options);

/// The least held-out loss of those that were tried, or of the stock ones alone; nothing where none
/// was.
std::optional<double> least_loss(const std::vector<Candidate>& tried, bool only_stock);

}  // namespace slice
