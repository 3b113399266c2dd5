#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "libslice/base/progress.h"

namespace slice {

class Model;

struct PerplexityResult {
  double perplexity = 0;      ///< exp(mean negative log-likelihood), nats
  int64_t tokens_scored = 0;  ///< N · (T − 1)
  double seconds = 0;
};

/// Perplexity of windows of text, each scored by itself: T − 1 targets a window, no overlap.
/// Log-likelihoods in float32 at least, summed in float64.
///
/// @param tokens  (N, T) int64, T ≥ 2
/// @throws ShapeError  no window, T < 2   @throws ArgumentError  an id outside the vocabulary
/// @throws NumericError  the result is not finite
/// Cost: one forward pass; memory of one window's stream and of 256 positions' logits.
PerplexityResult score_windows(const Model& model, const at::Tensor& tokens,
                               const OnProgress& on_progress = {});

/// score_windows(…).perplexity
double perplexity(const Model& model, const at::Tensor& tokens);

}  // namespace slice
