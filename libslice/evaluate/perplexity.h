#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "libslice/base/progress.h"
#include "libslice/device/process_group.h"

namespace slice {

class GroupDecoder;
class Model;

struct PerplexityResult {
  double perplexity = 0;      ///< exp(mean negative log-likelihood), nats
  double log_likelihood = 0;  ///< Σ log p of the tokens scored
  int64_t tokens_scored = 0;
  double seconds = 0;
};

/// Perplexity of windows of text, each scored by itself: T − 1 targets a window, no overlap.
/// Log-likelihoods in float32 at least, summed in float64. The processes of a group, each with the
/// model and all tokens, share the windows; all get the same result.
///
/// @param tokens  (N, T) int64, T ≥ 2
/// @throws ShapeError  no window, T < 2   @throws ArgumentError  an id outside the vocabulary
/// @throws NumericError  the result is not finite   @throws Error  lost contact with another rank
/// Cost: one forward pass; memory of one window's stream and of 256 positions' logits.
PerplexityResult score_windows(const Model& model, const at::Tensor& tokens,
                               const OnProgress& on_progress = {}, const ProcessGroup& group = {});

/// Perplexity of a whole text: every token but the first is scored once, in windows of `context`
/// tokens that begin `stride` tokens after one another; each scores what the ones before it did
/// not. With stride = context these are the windows of lm-evaluation-harness's rolling
/// log-likelihoods. The last window ends with the text and is as long as the others.
///
/// @param tokens  (n) int64, n ≥ 2    @param context ≥ 1    @param stride  1 … context
/// Throws as score_windows; ArgumentError also for such numbers.
/// Cost: score_windows' times context / stride.
PerplexityResult score_text(const Model& model, const at::Tensor& tokens, int64_t context,
                            int64_t stride, const OnProgress& on_progress = {},
                            const ProcessGroup& group = {});

/// The same of a model that is divided among processes, each of which calls it with all tokens.
/// Memory: GroupDecoder::score's.
PerplexityResult score_windows(GroupDecoder& decoder, const at::Tensor& tokens,
                               const OnProgress& on_progress = {});
PerplexityResult score_text(GroupDecoder& decoder, const at::Tensor& tokens, int64_t context,
                            int64_t stride, const OnProgress& on_progress = {});

/// score_windows(…).perplexity
double perplexity(const Model& model, const at::Tensor& tokens);

}  // namespace slice
