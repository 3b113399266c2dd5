#include <ATen/ATen.h>

#include <algorithm>

#include "libslice/base/detail/finite.h"
#include "libslice/base/detail/stopwatch.h"
#include "libslice/device/ops.h"
#include "libslice/method/rotate.h"
#include "libslice/slicing/detail/refitter.h"

namespace slice::detail {

using at::Tensor;

namespace {

/// Share of the mean diagonal that keeps EᵀE invertible.
constexpr double kTieRidge = 1e-10;

}  // namespace

void Refitter::refit_head() {
  const Charge charge(report_.rewrite_seconds);
  rotate_head(model_, head_map().t(), group_);
}

void Refitter::map_head() {
  const Charge charge(report_.rewrite_seconds);
  const Writer map = tie_map();
  const Tensor weight = map.weight.to(dtype_).contiguous();
  check_finite(weight, "head map");
  model_.head_map = {"head map", weight, map.bias.defined() ? map.bias.to(dtype_) : Tensor()};
  model_.final_norm->drop_weights();
}

double Refitter::held_out_loss() {
  const Writer M = rotates_ ? head_reader() : Writer();  // n̂ ↦ the dense model's n: (D, k)
  const Tensor W = rotates_ ? M.weight.to(dtype_) : Tensor(),
               b = M.bias.defined() ? M.bias.to(dtype_) : Tensor();
  double total = 0;
  int64_t window = fit_windows_, scored = 0;
  visit(/*held=*/true, [&](const Tensor& x, const Tensor&) {
    const Tensor ids = tokens_.slice(0, window, window + x.size(0)).to(x.device());
    double chunk = 0;  // added once the whole chunk is done: it may run out of memory half-way
    for (int64_t i = 0; i < x.size(0); ++i) {
      Tensor n = x[i];  // (T, k)
      if (rotates_) {
        n = at::linear(ops::rms_norm(n, D_, model_.final_norm->eps()), W, b);
      } else {
        n = model_.final_norm->forward(n);
      }
      const Tensor logits = at::linear(n, model_.head.weight, model_.head.bias);  // (T, V)
      const int64_t T = logits.size(0);
      chunk += at::cross_entropy_loss(logits.slice(0, 0, T - 1).to(at::kFloat), ids[i].slice(0, 1),
                                      {}, at::Reduction::Sum)
                   .item<double>();
    }
    total += chunk;
    scored += x.size(0) * (x.size(1) - 1);
    window += x.size(0);
  });
  const double all = group_.sum(total), tokens = group_.sum(static_cast<double>(scored));
  return all / std::max(tokens, 1.0);
}

Writer Refitter::head_reader() {
  if (options_.keep_tie) {
    const Writer map = tie_map();
    return {first_.mm(map.weight), map.bias.defined() ? first_.mv(map.bias) : Tensor()};
  }
  return dense_reader();
}

Writer Refitter::dense_reader() {
  Tensor M = head_map();  // (k, D)
  const auto& norm = model_.final_norm;
  if (norm->weight.defined()) M = M * norm->weight.to(at::kDouble);
  return {M.t(), norm->bias.defined() ? norm->bias.to(at::kDouble) : Tensor()};
}

Writer Refitter::tie_map() {
  const Writer read = dense_reader();
  const Tensor GP = G_.mm(first_);     // (D, k_0)
  const Tensor A = first_.t().mm(GP);  // (k_0, k_0)
  const auto nearest = [&](const Tensor& X) {
    return named("head map", [&] { return ridge_solve(A.clone(), GP.t().mm(X), kTieRidge); });
  };
  Writer map = {nearest(read.weight),
                read.bias.defined() ? nearest(read.bias.unsqueeze(1)).squeeze(1) : Tensor()};
  agree(map);
  return map;
}

Tensor Refitter::head_map() {
  const double eps = model_.final_norm->eps();
  const auto see = [&](bool held) -> Moments {
    MomentSums sums(x_.width(), 0, D_);
    const bool seen = visit(held, [&](const Tensor& x, const Tensor& z) {
      const Tensor centred = layer_norm_ ? z - z.mean(-1, /*keepdim=*/true) : z;
      sums.accumulate(ops::rms_norm(x, D_, eps), x.slice(-1, 0, 0),
                      ops::rms_norm(centred, D_, eps));
    });
    return seen ? sums.moments(group_) : Moments();
  };
  const Moments fit = see(/*held=*/false), held = see(/*held=*/true);
  const Writer start = {P_, {}};  // n̂ ↦ n̂ Pᵀ: (D, k)
  Writer map = named(
      "head", [&] { return refit_writer(fit, held, start, {}, {}, /*both=*/!trial_).writer; });
  agree(map);
  return map.weight.t();
}

}  // namespace slice::detail
