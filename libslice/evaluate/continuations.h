#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "libslice/base/progress.h"
#include "libslice/device/process_group.h"

namespace slice {

class GroupDecoder;
class Model;
class Tokenizer;

/// A text in two parts as ids: what a model reads, and what it is scored on.
struct Continuation {
  std::vector<int64_t> context, tokens;
};

/// Context and continuation as ids, split as lm-evaluation-harness splits them: the ids of both
/// together, cut after as many as the context alone has; white space at the context's end belongs
/// to the continuation. Special tokens written out in the text are recognised. The
/// beginning-of-sequence token comes first where the tokenizer adds one; an empty context becomes
/// that token, or the first end token.
/// @throws FormatError  not UTF-8; an empty context and a tokenizer with neither
Continuation encode_continuation(const Tokenizer& tokenizer, std::string_view context,
                                 std::string_view continuation);

/// A context and what follows it, as texts.
struct TextContinuation {
  std::string_view context, continuation;
};

/// encode_continuation() of each of one group, a context that several have once.
std::vector<Continuation> encode_continuations(const Tokenizer& tokenizer,
                                               std::span<const TextContinuation> group);

struct ContinuationScore {
  double log_likelihood = 0;  ///< Σ log p(token | all before it), nats
  bool greedy = true;         ///< whether each token is the most likely one, ties the lowest id
};

/// Log-likelihoods of continuations. Those of one group (the choices of a question) have the
/// beginning that they share computed once. On a GPU many groups are run together, packed into one
/// row of tokens without padding (packed_model.h); elsewhere one after the other, the rows after
/// the beginning padded to the longest. Texts longer than the model's context lose their first
/// tokens. Log-likelihoods in float32 at least, summed in float64. The processes of a group, each
/// with the model and all texts, share the groups of texts; all get all scores.
///
/// @param groups  any number of continuations each
/// @return        a score for each, in the same order
/// @throws ArgumentError  a continuation or context without a token, a continuation longer than
///                        the model's context, an id outside the vocabulary
/// @throws NumericError   a log-likelihood is NaN
/// @throws Error          lost contact with another rank
/// Cost: one forward pass over every group's tokens, the shared ones once; logits of scored
/// positions only. Memory: on a GPU what 65536 tokens take on their way through a layer, 2 GiB, or
/// one group; elsewhere the keys, values and stream of one group; 1024 positions' logits. On a GPU
/// the weights are laid out anew as by a Generator.
std::vector<std::vector<ContinuationScore>> score_continuations(
    const Model& model, std::span<const std::vector<Continuation>> groups,
    const OnProgress& on_progress = {}, const ProcessGroup& ranks = {});

/// The same of a model that is divided among processes, each of which calls it with all texts: one
/// pass over every text, beginnings that several share too. Memory: GroupDecoder::score's.
std::vector<std::vector<ContinuationScore>> score_continuations(
    GroupDecoder& decoder, std::span<const std::vector<Continuation>> groups,
    const OnProgress& on_progress = {});

}  // namespace slice
