#include "libslice/evaluate/perplexity.h"

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

/// Σ log p(target) of one window: ids (T), targets (n), the tokens after its positions from `first`
/// on.
double log_likelihood(const DecoderImpl& decoder, const Tensor& ids, int64_t first,
                      const Tensor& targets) {
  const int64_t n = targets.size(0);
  const Tensor stream = decoder.stream(ids.unsqueeze(0)).squeeze(0).narrow(0, first, n);  // (n, k)
  double total = 0;
  for (int64_t begin = 0; begin < n; begin += kPositions) {
    const int64_t end = std::min(begin + kPositions, n);
    Tensor logits = decoder.logits(stream.slice(0, begin, end));  // (end − begin, V)
    if (logits.scalar_type() != at::kDouble) logits = logits.to(at::kFloat);
    const Tensor target = targets.slice(0, begin, end).to(logits.device());
    const Tensor chosen = logits.gather(1, target.unsqueeze(1)).squeeze(1);
    total += (chosen - logits.logsumexp(1)).sum(at::kDouble).item<double>();
  }
  return total;
}

/// A sum over windows while it is made.
class Scores {
 public:
  Scores(const Model& model, int64_t windows, const OnProgress& on_progress)
      : model_(model), windows_(windows), on_progress_(on_progress) {}

  void add(const Tensor& ids, int64_t first, const Tensor& targets) {
    result_.log_likelihood += log_likelihood(model_.decoder(), ids, first, targets);
    result_.tokens_scored += targets.size(0);
    passed_ += ids.size(0);
    ++done_;
    if (!on_progress_) return;
    const double seconds = clock_.seconds(), done = static_cast<double>(done_);
    on_progress_({.phase = "score",
                  .step = done_,
                  .steps = windows_,
                  .tokens_per_second = static_cast<double>(passed_) / seconds,
                  .seconds = seconds,
                  .eta = seconds * static_cast<double>(windows_ - done_) / done});
  }

  PerplexityResult result() {
    const double mean = -result_.log_likelihood / static_cast<double>(result_.tokens_scored);
    SLICE_CHECK_AS(NumericError, std::isfinite(mean), "perplexity: the mean log-likelihood is {}",
                   -mean);
    result_.perplexity = std::exp(mean);
    result_.seconds = clock_.seconds();
    return result_;
  }

 private:
  const Model& model_;
  int64_t windows_, done_ = 0, passed_ = 0;
  const OnProgress& on_progress_;
  const detail::Stopwatch clock_;
  PerplexityResult result_;
};

}  // namespace

PerplexityResult score_windows(const Model& model, const Tensor& tokens,
                               const OnProgress& on_progress) {
  SLICE_CHECK(tokens.dim() == 2 && tokens.size(0) > 0 && tokens.size(1) >= 2,
              "perplexity: want (N, T ≥ 2) tokens, got {}", detail::describe(tokens));
  const at::NoGradGuard no_grad;
  Scores scores(model, tokens.size(0), on_progress);
  for (const Tensor& window : tokens.unbind(0)) scores.add(window, 0, window.slice(0, 1));
  return scores.result();
}

PerplexityResult score_text(const Model& model, const Tensor& tokens, int64_t context,
                            int64_t stride, const OnProgress& on_progress) {
  SLICE_CHECK(tokens.dim() == 1 && tokens.size(0) >= 2, "perplexity: want (n ≥ 2) tokens, got {}",
              detail::describe(tokens));
  SLICE_ARGUMENT_CHECK(stride >= 1 && stride <= context, "stride {}: want 1 … context {}", stride,
                       context);
  const at::NoGradGuard no_grad;
  const int64_t last = tokens.size(0) - 1;  // of the tokens read; the very last is a target alone
  const int64_t later = std::max<int64_t>(last - context, 0);
  Scores scores(model, 1 + (later + stride - 1) / stride, on_progress);
  for (int64_t scored = 0; scored < last;) {
    const int64_t end = std::min(scored == 0 ? context : scored + stride, last);
    const int64_t begin = std::max<int64_t>(end - context, 0);
    scores.add(tokens.slice(0, begin, end), scored - begin, tokens.slice(0, scored + 1, end + 1));
    scored = end;
  }
  return scores.result();
}

double perplexity(const Model& model, const Tensor& tokens) {
  return score_windows(model, tokens).perplexity;
}

}  // namespace slice
