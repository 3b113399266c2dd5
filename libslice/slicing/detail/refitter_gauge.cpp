#include <ATen/ATen.h>

#include <algorithm>

#include "libslice/device/ops.h"
#include "libslice/method/rotate.h"
#include "libslice/slicing/detail/refitter.h"

namespace slice::detail {

using at::Tensor;

Tensor Refitter::gauge(int64_t site, Tensor& P_next, SplitMoments& moments) {
  Sublayer& s = model_.sublayers[site - 1];
  const bool extends = P_next.size(1) > P_.size(1);
  if (form_ != ShortcutForm::kDense && extends) return {};  // [I 0]
  const bool paired = form_ == ShortcutForm::kDiagonal && site % 2 == 1;
  if (form_ == ShortcutForm::kNone || form_ == ShortcutForm::kLowRank) {
    P_next = P_next.mm(polar_factor(P_next.t().mm(P_)));  // next to P
    group_.copy_from_inplace(0, P_next);
    if (form_ == ShortcutForm::kNone) return {};
    return set_low_rank(s, P_.t().mm(P_next));
  }
  if (paired) return pair(site, P_next, moments);
  const Tensor S = P_.t().mm(P_next);
  s.shortcut->set_dense(S.t(), dtype_);
  return S;
}

void Refitter::agree(Writer& writer) const {
  group_.copy_from_inplace(0, writer.weight);
  if (writer.bias.defined()) group_.copy_from_inplace(0, writer.bias);
}

ops::Eigen Refitter::agreed(ops::Eigen eigen) const {
  group_.copy_from_inplace(0, eigen.values);
  group_.copy_from_inplace(0, eigen.vectors);
  return eigen;
}

Tensor Refitter::set_low_rank(Sublayer& s, const Tensor& S) {
  const int64_t k = S.size(0), R = std::min(options_.shortcut_rank, k);
  const ops::Eigen eigen = agreed(ops::symmetric_eigen((S + S.t()) / 2));
  const Tensor Q = eigen.vectors.slice(1, 0, R);                         // (k, R), λ ascending
  const Tensor up = Q * (eigen.values.slice(0, 0, R) - 1).unsqueeze(0);  // (k, R)
  s.shortcut->set_low_rank(Q.t(), up, dtype_);
  return at::eye(k, S.options()) + Q.mm(up.t());
}

Tensor Refitter::pair(int64_t site, Tensor& P_next, SplitMoments& moments) {
  const Tensor S = P_.t().mm(P_next);
  Tensor R = polar_factor(S);
  group_.copy_from_inplace(0, R);
  const ops::Eigen eigen = agreed(ops::symmetric_eigen(S.mm(R.t())));  // U Σ Uᵀ
  const Tensor U = eigen.vectors.contiguous();
  Sublayer& s = model_.sublayers[site - 1];
  rotate_readers(s, U, group_);
  x_.project(U);
  if (!trial_) turn_what_writes(site - 1, U);
  if (site == 1) first_ = first_.mm(U);
  moments = moments.turned(U);
  P_ = P_.mm(U);
  P_next = P_next.mm(R.t().mm(U));
  s.shortcut->set_diagonal(eigen.values, dtype_);
  return at::diag(eigen.values);
}

void Refitter::turn_what_writes(int64_t site, const Tensor& U) {
  if (site == 0) return rotate_embeddings(model_, U, group_);
  Sublayer& before = model_.sublayers[site - 1];
  rotate_writers(before, U, group_);
  before.shortcut->set_dense(U.t().mm(before.shortcut->weight.to(at::kDouble)), dtype_);
}

}  // namespace slice::detail
