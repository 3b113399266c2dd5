#include "libslice/evaluate/perplexity.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <span>
#include <vector>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/stopwatch.h"
#include "libslice/base/detail/tensor_text.h"
#include "libslice/checkpoint/model.h"
#include "libslice/decode/group_decoder.h"
#include "libslice/model/decoder.h"

namespace slice {

using at::Tensor;

namespace {

// Positions whose logits are alive together: V numbers each, far more than the stream has.
constexpr int64_t kPositions = 256;

/// What is scored together: the tokens after the positions of `ids` from `first` on.
struct Window {
  Tensor ids;  // (T)
  int64_t first;
  Tensor targets;  // (n)
};

/// Σ log p(target) of one window.
using LogLikelihood = std::function<double(const Window&)>;

double log_likelihood(const DecoderImpl& decoder, const Window& window) {
  const Tensor& targets = window.targets;
  const int64_t n = targets.size(0);
  const Tensor all = decoder.stream(window.ids.unsqueeze(0)).squeeze(0);  // (T, k)
  const Tensor stream = all.narrow(0, window.first, n);                   // (n, k)
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

/// The windows that are this rank's, then their sum with the others', in one order for any number
/// of ranks.
PerplexityResult score(const LogLikelihood& one, const std::vector<Window>& windows,
                       const OnProgress& on_progress, const ProcessGroup& group) {
  const at::NoGradGuard no_grad;
  const detail::Stopwatch clock;
  const auto [begin, end] = group.share(std::ssize(windows));
  Tensor sums = at::zeros({std::ssize(windows)}, at::kDouble);  // Σ log p of each window
  int64_t passed = 0;
  for (int64_t i = begin; i < end; ++i) {
    const Window& window = windows[i];
    sums[i] = one(window);
    passed += window.ids.size(0);
    if (!on_progress) continue;
    const double seconds = clock.seconds(), done = static_cast<double>(i + 1 - begin);
    on_progress({.phase = "score",
                 .step = i + 1 - begin,
                 .steps = end - begin,
                 .tokens_per_second = static_cast<double>(passed) / seconds,
                 .seconds = seconds,
                 .eta = seconds * static_cast<double>(end - i - 1) / done});
  }
  group.gather_rows_inplace(sums);
  PerplexityResult result;
  for (const Window& window : windows) result.tokens_scored += window.targets.size(0);
  const std::span all(sums.const_data_ptr<double>(), windows.size());
  result.log_likelihood = std::accumulate(all.begin(), all.end(), 0.0);
  const double mean = -result.log_likelihood / static_cast<double>(result.tokens_scored);
  SLICE_CHECK_AS(NumericError, std::isfinite(mean), "perplexity: the mean log-likelihood is {}",
                 -mean);
  result.perplexity = std::exp(mean);
  result.seconds = clock.seconds();
  return result;
}

LogLikelihood by(const Model& model) {
  return [&model](const Window& window) { return log_likelihood(model.decoder(), window); };
}

LogLikelihood by(GroupDecoder& decoder) {
  return [&decoder](const Window& window) {
    return decoder.score(window.ids, window.first, window.targets)
        .log_likelihoods.sum()
        .item<double>();
  };
}

std::vector<Window> windows_of(const Tensor& tokens) {
  SLICE_CHECK(tokens.dim() == 2 && tokens.size(0) > 0 && tokens.size(1) >= 2,
              "perplexity: want (N, T ≥ 2) tokens, got {}", detail::describe(tokens));
  std::vector<Window> windows;
  for (const Tensor& ids : tokens.unbind(0)) windows.push_back({ids, 0, ids.slice(0, 1)});
  return windows;
}

std::vector<Window> windows_of(const Tensor& tokens, int64_t context, int64_t stride) {
  SLICE_CHECK(tokens.dim() == 1 && tokens.size(0) >= 2, "perplexity: want (n ≥ 2) tokens, got {}",
              detail::describe(tokens));
  SLICE_ARGUMENT_CHECK(stride >= 1 && stride <= context, "stride {}: want 1 … context {}", stride,
                       context);
  const int64_t last = tokens.size(0) - 1;  // of the tokens read; the very last is a target alone
  std::vector<Window> windows;
  for (int64_t scored = 0; scored < last;) {
    const int64_t end = std::min(scored == 0 ? context : scored + stride, last);
    const int64_t begin = std::max<int64_t>(end - context, 0);
    windows.push_back(
        {tokens.slice(0, begin, end), scored - begin, tokens.slice(0, scored + 1, end + 1)});
    scored = end;
  }
  return windows;
}

}  // namespace

PerplexityResult score_windows(const Model& model, const Tensor& tokens,
                               const OnProgress& on_progress, const ProcessGroup& group) {
  return score(by(model), windows_of(tokens), on_progress, group);
}

PerplexityResult score_windows(GroupDecoder& decoder, const Tensor& tokens,
                               const OnProgress& on_progress) {
  return score(by(decoder), windows_of(tokens), on_progress, {});
}

PerplexityResult score_text(const Model& model, const Tensor& tokens, int64_t context,
                            int64_t stride, const OnProgress& on_progress,
                            const ProcessGroup& group) {
  return score(by(model), windows_of(tokens, context, stride), on_progress, group);
}

PerplexityResult score_text(GroupDecoder& decoder, const Tensor& tokens, int64_t context,
                            int64_t stride, const OnProgress& on_progress) {
  return score(by(decoder), windows_of(tokens, context, stride), on_progress, {});
}

double perplexity(const Model& model, const Tensor& tokens) {
  return score_windows(model, tokens).perplexity;
}

}  // namespace slice
