#include "libslice/decode/perplexity.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/stopwatch.h"
#include "libslice/base/detail/tensor_text.h"
#include "libslice/checkpoint/model.h"
#include "libslice/model/decoder.h"

namespace slice {

using at::Tensor;

namespace {

// Positions whose logits are alive together: V numbers each, far more than the stream has.
constexpr int64_t kPositions = 256;

/// Σ −log p(target) of one window; stream (T, k), ids (T).
double negative_log_likelihood(const DecoderImpl& decoder, const Tensor& stream,
                               const Tensor& ids) {
  const int64_t targets = ids.size(0) - 1;
  double total = 0;
  for (int64_t begin = 0; begin < targets; begin += kPositions) {
    const int64_t end = std::min(begin + kPositions, targets);
    Tensor logits = decoder.logits(stream.slice(0, begin, end));  // (end − begin, V)
    if (logits.scalar_type() != at::kDouble) logits = logits.to(at::kFloat);
    const Tensor target = ids.slice(0, begin + 1, end + 1).to(logits.device());
    const Tensor chosen = logits.gather(1, target.unsqueeze(1)).squeeze(1);
    total += (logits.logsumexp(1) - chosen).sum(at::kDouble).item<double>();
  }
  return total;
}

}  // namespace

PerplexityResult score_windows(const Model& model, const Tensor& tokens,
                               const OnProgress& on_progress) {
  SLICE_CHECK(tokens.dim() == 2 && tokens.size(0) > 0 && tokens.size(1) >= 2,
              "perplexity: want (N, T ≥ 2) tokens, got {}", detail::describe(tokens));
  const at::NoGradGuard no_grad;
  const detail::Stopwatch clock;
  const int64_t N = tokens.size(0), T = tokens.size(1);
  double total = 0;
  for (int64_t i = 0; i < N; ++i) {
    const Tensor window = tokens.slice(0, i, i + 1);                  // (1, T)
    const Tensor stream = model.decoder().stream(window).squeeze(0);  // (T, k)
    total += negative_log_likelihood(model.decoder(), stream, window.squeeze(0));
    if (on_progress) {
      const double seconds = clock.seconds();
      on_progress({.phase = "score",
                   .step = i + 1,
                   .steps = N,
                   .tokens_per_second = static_cast<double>((i + 1) * T) / seconds,
                   .seconds = seconds,
                   .eta = seconds * static_cast<double>(N - i - 1) / static_cast<double>(i + 1)});
    }
  }
  const int64_t scored = N * (T - 1);
  const double mean = total / static_cast<double>(scored);
  SLICE_CHECK_AS(NumericError, std::isfinite(mean), "perplexity: the mean log-likelihood is {}",
                 mean);
  return {.perplexity = std::exp(mean), .tokens_scored = scored, .seconds = clock.seconds()};
}

double perplexity(const Model& model, const Tensor& tokens) {
  return score_windows(model, tokens).perplexity;
}

}  // namespace slice
