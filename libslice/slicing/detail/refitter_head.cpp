#include <ATen/ATen.h>

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
  const auto see = [&](MomentSums& sums, const Tensor& x, const Tensor& z, int64_t) {
    const Tensor centred = layer_norm_ ? z - z.mean(-1, /*keepdim=*/true) : z;
    sums.accumulate(ops::rms_norm(x, D_, eps), x.slice(-1, 0, 0), ops::rms_norm(centred, D_, eps));
  };
  const SplitMoments moments = summed(x_.width(), 0, see);
  const Writer start = {P_, {}};  // n̂ ↦ n̂ Pᵀ: (D, k)
  Writer map = named("head", [&] { return refit_writer(moments, start, {}, {}).writer; });
  agree(map);
  return map.weight.t();
}

}  // namespace slice::detail
