#include "libslice/method/channels.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/stopwatch.h"
#include "libslice/base/detail/tensor_text.h"
#include "libslice/method/plan.h"
#include "libslice/method/refit.h"
#include "libslice/method/signal.h"
#include "libslice/method/window_share.h"
#include "libslice/method/working_memory.h"

namespace slice {

using at::Tensor;

namespace {

/// What multiplies a network's writer where its output is normed: γ / r of every token, r in the
/// hidden signal h (n, T, F) here and γ in the writer W (D, F) below.
Tensor normed_hidden(const Sublayer& s, const Tensor& h, const Tensor& x) {
  return s.out_norm.is_empty() ? h : h.to(at::kFloat) / s.out_norm->divisor(s.output(x));
}

Tensor normed_writer(const Sublayer& s, const Tensor& W) {
  if (s.out_norm.is_empty() || !s.out_norm->weight.defined()) return W;
  return W * s.out_norm->weight.to(at::kDouble).unsqueeze(1);
}

/// Deletes `count` channels, the cheapest first, given their inverse moments B (n, n) and the
/// effect of their writers Q = wᵀ Γ w (n, n). After each, the others take over what it wrote, and
/// both matrices follow.
/// @return  (n) bool, which are kept
Tensor delete_cheapest(Tensor B, Tensor Q, int64_t count) {
  const double inf = std::numeric_limits<double>::infinity();
  const int64_t n = B.size(0);
  Tensor gone = at::zeros({n}, B.options());  // infinite where a channel is deleted
  for (int64_t step = 0; step < count; ++step) {
    const Tensor i = (Q.diagonal() / B.diagonal() + gone).argmin().view({1});
    gone.index_fill_(0, i, inf);
    const Tensor column = B.index_select(1, i);      // (n, 1)
    const Tensor pivot = column.index_select(0, i);  // (1, 1)
    const Tensor r = column / pivot;                 // what each takes over of i
    const Tensor q = Q.index_select(1, i), own = q.index_select(0, i);
    B = B - r.mm(column.t());
    Q = Q - r.mm(q.t()) - q.mm(r.t()) + own * r.mm(r.t());
    B.diagonal().clamp_min_(std::numeric_limits<double>::min());  // that of i is zero now
  }
  return gone == 0;
}

}  // namespace

Tensor keep_channels(const Tensor& A, const Tensor& W, const Tensor& gamma, int64_t keep,
                     double ridge) {
  constexpr int64_t kRounds = 6;      // after each, moments and weights are computed anew
  constexpr int64_t kCandidates = 2;  // looked at for each that a round deletes
  const int64_t F = A.size(0);
  SLICE_CHECK(A.dim() == 2 && A.size(1) == F && W.dim() == 2 && W.size(1) == F,
              "channels: want A (F, F) and W (D, F), got {} and {}", detail::describe(A),
              detail::describe(W));
  SLICE_ARGUMENT_CHECK(keep >= 1 && keep <= F, "channels: want to keep 1 … {}, got {}", F, keep);
  const Tensor WA = W.mm(A);  // (D, F)
  Tensor kept = at::arange(F, A.options().dtype(at::kLong));
  while (kept.size(0) > keep) {
    const int64_t n = kept.size(0);
    const int64_t step = std::min(n - keep, (F - keep + kRounds - 1) / kRounds);
    const Tensor inverse = ridge_inverse(A.index_select(0, kept).index_select(1, kept), ridge);
    const Tensor w = WA.index_select(1, kept).mm(inverse);  // (D, n), least squares
    const Tensor felt = gamma.defined() ? gamma.mm(w) : w;  // Γ w
    const Tensor score = (w * felt).sum(0) / inverse.diagonal();
    const Tensor cheap =
        std::get<1>(score.topk(std::min(n, kCandidates * step), 0, /*largest=*/false));  // (c)
    const auto among = [&](const Tensor& X, int64_t d) { return X.index_select(d, cheap); };
    const Tensor stay =
        delete_cheapest(among(among(inverse, 0), 1), among(w, 1).t().mm(among(felt, 1)), step);
    Tensor remains = at::ones({n}, A.options().dtype(at::kBool));
    remains.index_put_({cheap}, stay);
    kept = kept.masked_select(remains);
  }
  return kept;
}

std::vector<Tensor> channel_scores(const ModelAdapter& model, const CalibrationWindows& windows,
                                   const std::vector<Tensor>& gammas, const OnProgress& on_progress,
                                   const ProcessGroup& group, const HeldWeights& held) {
  const Tensor& tokens = windows.tokens();
  const at::NoGradGuard no_grad;
  SLICE_ARGUMENT_CHECK(gammas.size() == model.sublayers.size() + 1,
                       "channels: want {} gradients, got {}", model.sublayers.size() + 1,
                       gammas.size());
  held.hold_part(0);
  Signal x(detail::share_of_windows(tokens, group), kHostChunkTokens, model.embed,
           {.working_bytes = detail::working_bytes(detail::working_sizes(model, Method::kRefit),
                                                   kHostChunkTokens),
            .processes = group.size()});
  const detail::Stopwatch clock;
  const auto count = std::ssize(model.sublayers);
  const auto report = [&](int64_t done) {
    if (!on_progress) return;
    const double seconds = clock.seconds();
    const double left = static_cast<double>(count - done) / static_cast<double>(done);
    on_progress({.phase = "channels",
                 .step = done,
                 .steps = count,
                 .seconds = seconds,
                 .eta = done > 0 ? seconds * left : 0});
  };
  const auto [first, last] = detail::window_share(tokens.size(0), tokens.size(1), group);
  const Tensor weights =
      at::tensor(windows.window_weights(first, last - first), at::kDouble).unsqueeze(0);  // (1, n)
  std::vector<Tensor> scores;
  for (size_t i = 0; i < model.sublayers.size(); ++i) {
    const Sublayer& s = model.sublayers[i];
    held.hold_part(static_cast<int64_t>(i) + 1);
    for (const Branch& branch : s.branches) {
      if (!branch.channels || branch.mixes()) continue;
      const Tensor W = normed_writer(s, branch.writer.weight.to(at::kDouble));  // (D, F)
      const Tensor effect = (W * gammas[i + 1].to(W.device()).mm(W)).sum(0);    // (F)
      Tensor square = at::zeros({1, W.size(1)}, W.options());
      int64_t window = 0;
      x.visit([&](const Tensor& chunk) {
        const Tensor h = normed_hidden(s, branch.hidden(s.norm_of(branch)->forward(chunk), nullptr),
                                       chunk);                                // (n, T, F)
        const Tensor own = h.to(at::kFloat).square().sum(1).to(at::kDouble);  // (n, F)
        square += weights.slice(1, window, window + own.size(0)).to(own.device()).mm(own);
        window += own.size(0);
        report(static_cast<int64_t>(i));
      });
      group.sum_inplace(square);
      Tensor score = square[0] / static_cast<double>(tokens.numel()) * effect;
      group.copy_from_inplace(0, score);  // products of two machines may differ in their last bits
      scores.push_back(score.cpu());
    }
    x.transform([&](const Tensor& chunk) { return s.forward(chunk); });
    report(static_cast<int64_t>(i) + 1);
  }
  return scores;
}

namespace {

void keep_rows_and_columns(const std::vector<LinearRef>& readers, const LinearRef& writer,
                           const Tensor& kept) {
  const auto select = [&](const Tensor& parameter, int64_t dimension) {
    return parameter.index_select(dimension, kept.to(parameter.device()));
  };
  std::vector<std::pair<Tensor, Tensor>> smaller;
  for (const LinearRef& reader : readers) {
    smaller.emplace_back(reader.weight, select(reader.weight, 0));
    if (reader.bias.defined()) smaller.emplace_back(reader.bias, select(reader.bias, 0));
  }
  smaller.emplace_back(writer.weight, select(writer.weight, 1));
  for (auto& [parameter, value] : smaller) parameter.set_data(value);
}

}  // namespace

void remove_channels(Branch& network, const Tensor& kept) {
  keep_rows_and_columns(network.readers, network.writer, kept);
}

void remove_channels(ExpertRef& network, const Tensor& kept) {
  keep_rows_and_columns(network.readers, network.writer, kept);
}

}  // namespace slice
