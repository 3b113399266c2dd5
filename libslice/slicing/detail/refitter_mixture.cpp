// Mixtures of experts: a token goes through few of many networks, so that least squares of all
// their writers together would want moments as wide as all of them. Channels are those of each
// expert by itself; what remains of its writer is rotated as it is, and what was lost is repaired
// by the attention after it.                                      (docs/method.md, "Experts")

#include <ATen/ATen.h>

#include <algorithm>

#include "libslice/base/detail/finite.h"
#include "libslice/base/detail/stopwatch.h"
#include "libslice/method/channels.h"
#include "libslice/method/covariance.h"
#include "libslice/method/rotate.h"
#include "libslice/slicing/detail/refitter.h"

namespace slice::detail {

using at::Tensor;

namespace {

/// Of the moments of experts that are summed in one pass over the signal.
constexpr int64_t kMomentBytes = int64_t{2} << 30;

}  // namespace

Tensor Refitter::slice_mixture(int64_t site) {
  Sublayer& s = model_.sublayers[site - 1];
  Branch& branch = s.branches[0];
  const int64_t keep = next_width(branch);
  if (keep < branch.width()) narrow_experts(site, branch, keep);
  if (!rotates_) {
    reporter_.chunk_done(x_.windows() * x_.window_tokens());  // nothing else to observe
    reporter_.site_done(site_name(site), D_, 1.0);
    return {};
  }
  Tensor P_next = next_basis(site, mixture_covariance(site));
  SplitMoments none;
  named(s.name, [&] { return gauge(site, P_next, none); });
  const Charge charge(report_.rewrite_seconds);
  rotate_writers(s, P_next, group_);  // W_out ← P'ᵀ W_out
  return P_next;
}

void Refitter::narrow_experts(int64_t site, Branch& branch, int64_t keep) {
  const Charge charge(report_.refit_seconds);
  const int64_t count = std::ssize(branch.experts), F = branch.width();
  const int64_t bytes = 2 * F * F * static_cast<int64_t>(sizeof(double));
  const int64_t at_once = std::clamp<int64_t>(kMomentBytes / bytes, 1, count);
  for (int64_t first = 0; first < count; first += at_once) {
    const int64_t last = std::min(first + at_once, count);
    const std::vector<Tensor> moments = expert_moments(site, first, last);
    for (int64_t e = first; e < last; ++e) {
      ExpertRef& expert = branch.experts[e];
      named(expert.writer.name, [&] { narrow_expert(site, expert, moments[e - first], keep); });
    }
  }
}

void Refitter::narrow_expert(int64_t site, ExpertRef& expert, const Tensor& A, int64_t keep) {
  const Tensor W = expert.writer.weight.to(at::kDouble);  // (D, F)
  const bool used = A.diagonal().sum().item<double>() > 0;
  Tensor kept = used ? keep_channels(A, W, gamma(site), keep, kChannelRidge)
                     : std::get<0>(std::get<1>(W.square().sum(0).topk(keep)).sort());
  group_.copy_from_inplace(0, kept);
  Tensor narrowed = W.index_select(1, kept);  // (D, keep)
  if (used) {
    const Tensor rows = A.index_select(0, kept);  // (keep, F)
    narrowed =
        ridge_solve(rows.index_select(1, kept), rows.mm(W.t()), kChannelRidge).t().contiguous();
    group_.copy_from_inplace(0, narrowed);
  }
  const Tensor stored = narrowed.to(expert.writer.weight.scalar_type());
  check_finite(stored, expert.writer.name + " narrowed");
  remove_channels(expert, kept);
  expert.writer.weight.set_data(stored);
}

std::vector<Tensor> Refitter::expert_moments(int64_t site, int64_t first, int64_t last) {
  const Sublayer& s = model_.sublayers[site - 1];
  const Branch& branch = s.branches[0];
  std::vector<Covariance> sums(static_cast<size_t>(last - first), Covariance(branch.width()));
  const auto see = [&](int64_t expert, const ExpertTokens& tokens) {
    const Tf32Scope exact(false);
    sums[expert - first].accumulate(tokens.shared());  // (m, F)
  };
  for (const auto* parts : {&parts_.fit, &parts_.choose}) {
    for (const WindowPart& part : *parts) {
      for (Covariance& sum : sums) sum.set_weight(weights_[part.text]);
      visit(part, [&](const Tensor& x, const Tensor&) {
        const Tf32Scope tf32(options_.tf32);
        branch.expert_hidden(s.norm_of(branch)->forward(x), first, last, see);
      });
    }
  }
  std::vector<Tensor> moments;  // (F, F) each
  for (Covariance& sum : sums) moments.push_back(sum.matrix(group_));
  return moments;
}

Tensor Refitter::mixture_covariance(int64_t site) {
  const Charge charge(report_.calibrate_seconds, model_.head.weight.device());
  const Sublayer& s = model_.sublayers[site - 1];
  const Tensor back = P_.t().to(dtype_);  // (k, D)
  Covariance sum(D_);
  for (const auto* parts : {&parts_.fit, &parts_.choose}) {
    for (const WindowPart& part : *parts) {
      sum.set_weight(weights_[part.text]);
      visit(part, [&](const Tensor& x, const Tensor& z) {
        if (x.size(0) == 0) return sum.accumulate(z);  // (0, D)
        sum.accumulate(at::matmul(x, back) + [&] {     // (n, T, D)
          const Tf32Scope tf32(options_.tf32);
          return s.written(x);
        }());
        counted(x);
      });
    }
  }
  reporter_.chunk_done((x_.windows() - parts_.summed) * x_.window_tokens());  // not looked at
  return sum.matrix(group_);
}

}  // namespace slice::detail
