#include "libslice/method/refit.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <utility>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/finite.h"
#include "libslice/base/detail/tensor_text.h"

namespace slice {

using at::Tensor;

namespace {

/// Half-precision products are fastest at widths that are multiples of eight.
constexpr int64_t kAlignment = 8;

/// ρ of refit_writer, least first; few tokens need the large ones.
constexpr double kRidges[] = {1e-4, 1e-3, 1e-2, 1e-1};
constexpr double kRidgeUntested = 1e-2;

/// ρ·mean(diag A); 1 where A is zero, as the moments of what writes nothing.
double shift_of(const Tensor& A, double ridge) {
  const double mean = A.diagonal().mean().item<double>();
  return mean == 0 ? 1.0 : ridge * mean;
}

/// The factor of A + shift·I.
Tensor factor_inplace(Tensor& A, double ridge) {
  A.diagonal().add_(shift_of(A, ridge));
  const auto [L, info] = at::linalg_cholesky_ex(A, /*upper=*/false, /*check_errors=*/false);
  SLICE_CHECK_AS(NumericError, info.item<int>() == 0,
                 "least squares {}: not positive definite at row {}", detail::describe(A),
                 info.item<int>());
  A = Tensor();
  return L;
}

Tensor columns(const Tensor& X, int64_t begin, int64_t count) {
  return X.slice(1, begin, begin + count);
}

/// The normal equations; h has a constant 1 beside it where a bias is fitted too.
struct Problem {
  Tensor A;  // Σ [h 1]ᵀ[h 1]
  Tensor R;  // Σ [h 1]ᵀ(z P − x S)
};

/// Σ aᵀ(x S) for rows Σ aᵀx (n, k): padded with zeros where S is the identity and the target wider.
Tensor through_shortcut(const Tensor& ax, const Tensor& S, int64_t width) {
  return S.defined() ? ax.mm(S) : at::constant_pad_nd(ax, {0, width - ax.size(1)});
}

Problem problem_of(const Moments& m, const Tensor& P, const Tensor& S, bool with_bias) {
  const auto target = [&](const Tensor& az, const Tensor& ax) {
    const Tensor zP = P.defined() ? az.mm(P) : az;
    return zP - through_shortcut(ax, S, zP.size(1));
  };
  Problem p = {m.hh, target(m.hz, m.hx)};
  if (!with_bias) return p;
  const Tensor h = m.h.unsqueeze(0);                                    // (1, F)
  const Tensor one = at::full({1, 1}, m.tokens, m.hh.options());        // (1, 1)
  p.A = at::cat({at::cat({m.hh, h.t()}, 1), at::cat({h, one}, 1)}, 0);  // (F + 1, F + 1)
  p.R = at::cat({p.R, target(m.z.unsqueeze(0), m.x.unsqueeze(0))}, 0);  // (F + 1, k')
  return p;
}

/// argmin over B (n, k') of tr(Bᵀ A B) − 2 tr(Bᵀ R), pulled towards B₀.
Tensor solve(const Problem& p, const Tensor& start, double ridge) {
  const Tensor wanted = p.R - p.A.mm(start);
  const Tensor step = ridge_solve(p.A.clone(), wanted, ridge);
  check_solution(p.A, wanted, step, shift_of(p.A, ridge));
  return start + step;
}

/// B₀ᵀ = [W₀ b₀]ᵀ (n, k').
Tensor columns_of(const Writer& start) {
  if (!start.bias.defined()) return start.weight.t();
  return at::cat({start.weight, start.bias.unsqueeze(1)}, 1).t();
}

/// ‖h Bᵀ − t‖² − ‖t‖² of a target t: what B explains of its energy, negative.
double error_of(const Problem& p, const Tensor& B) {
  return (B * (p.A.mm(B) - 2 * p.R)).sum().item<double>();
}

/// The candidate that loses least on the text on which it loses most.
double chosen_ridge(const Problem& fitted, const std::vector<Problem>& unseen,
                    const Tensor& start) {
  std::vector<std::vector<double>> errors;  // of every candidate looked at, text by text
  for (const double ridge : kRidges) {
    const Tensor B = solve(fitted, start, ridge);
    std::vector<double> own;
    for (const Problem& text : unseen) own.push_back(error_of(text, B));
    // Every text's error has one valley over the ridge.
    const bool over = !errors.empty() && std::ranges::equal(own, errors.back(), std::greater{});
    if (over) break;
    errors.push_back(std::move(own));
  }
  std::vector<double> worst(errors.size(), 0);
  for (size_t text = 0; text < unseen.size(); ++text) {
    double best = std::numeric_limits<double>::infinity();
    for (const auto& own : errors) best = std::min(best, own[text]);
    const double scale = best == 0 || unseen.size() == 1 ? 1 : std::abs(best);
    for (size_t i = 0; i < errors.size(); ++i)
      worst[i] = std::max(worst[i], (errors[i][text] - best) / scale);
  }
  return kRidges[std::ranges::min_element(worst) - worst.begin()];
}

}  // namespace

MomentSums::MomentSums(int64_t F, int64_t k, int64_t D)
    : F_(F),
      k_(k),
      D_(D),
      padding_((kAlignment - (F + k + D + 1) % kAlignment) % kAlignment),
      joint_(F + k + D + 1 + padding_) {}

void MomentSums::accumulate(const Tensor& h, const Tensor& x, const Tensor& z,
                            const Tensor& scale) {
  SLICE_CHECK(h.size(-1) == F_ && x.size(-1) == k_ && z.size(-1) == D_,
              "moments: want widths {}, {} and {}, got {}, {} and {}", F_, k_, D_,
              detail::describe(h), detail::describe(x), detail::describe(z));
  std::vector<int64_t> one = h.sizes().vec();
  one.back() = 1;
  Tensor read = h, constant = at::ones(one, h.options());
  if (scale.defined()) {
    read = (h * scale).to(h.scalar_type());
    constant = scale.to(h.scalar_type());
  }
  if (padding_ > 0) constant = at::constant_pad_nd(constant, {0, padding_});
  joint_.accumulate(at::cat({read, x, z, constant}, -1));
}

Moments MomentSums::moments(const ProcessGroup& group) {
  const Tensor J = joint_.matrix(group);
  const Tensor h = J.slice(0, 0, F_), x = J.slice(0, F_, F_ + k_);
  const Tensor ones = J[F_ + k_ + D_];
  Moments m;
  m.hh = columns(h, 0, F_).contiguous();
  m.hx = columns(h, F_, k_).contiguous();
  m.hz = columns(h, F_ + k_, D_).contiguous();
  m.xx = columns(x, F_, k_).contiguous();
  m.h = ones.slice(0, 0, F_).clone();
  m.x = ones.slice(0, F_, F_ + k_).clone();
  m.z = ones.slice(0, F_ + k_, F_ + k_ + D_).clone();
  m.tokens = ones[F_ + k_ + D_].item<double>();
  return m;
}

Moments Moments::with_channels(const Tensor& kept) const {
  Moments m = *this;
  m.hh = hh.index_select(0, kept).index_select(1, kept);
  m.hx = hx.index_select(0, kept);
  m.hz = hz.index_select(0, kept);
  m.h = h.index_select(0, kept);
  return m;
}

Moments Moments::turned(const Tensor& U) const {
  Moments m = *this;
  m.hx = hx.mm(U);
  m.xx = U.t().mm(xx.mm(U));
  m.x = U.t().mv(x);
  return m;
}

Moments operator+(const Moments& a, const Moments& b) {
  if (b.tokens == 0) return a;
  return {a.hh + b.hh, a.hx + b.hx, a.hz + b.hz, a.xx + b.xx,
          a.h + b.h,   a.x + b.x,   a.z + b.z,   a.tokens + b.tokens};
}

Moments SplitMoments::all() const {
  Moments sum = fit;
  for (const Moments& text : choose) sum = sum + text;
  return sum;
}

SplitMoments SplitMoments::with_channels(const Tensor& kept) const {
  SplitMoments m = {fit.with_channels(kept), {}};
  for (const Moments& text : choose) m.choose.push_back(text.with_channels(kept));
  return m;
}

SplitMoments SplitMoments::turned(const Tensor& U) const {
  SplitMoments m = {fit.turned(U), {}};
  for (const Moments& text : choose) m.choose.push_back(text.turned(U));
  return m;
}

Tensor signal_covariance(const Moments& m, const Tensor& P, const Tensor& W, const Tensor& b) {
  const Tensor crossed = W.mm(m.hx).mm(P.t());  // (D, D): W (Σ hᵀx) Pᵀ
  Tensor C = P.mm(m.xx.mm(P.t())) + crossed + crossed.t() + W.mm(m.hh.mm(W.t()));
  if (b.defined()) {
    const Tensor mean = at::outer(P.mv(m.x) + W.mv(m.h), b);  // (D, D)
    C = C + mean + mean.t() + m.tokens * at::outer(b, b);
  }
  return (C + C.t()) / 2;
}

Writer solve_writer(const Moments& m, const Writer& start, const Tensor& P, const Tensor& S,
                    double ridge) {
  const bool with_bias = start.bias.defined();
  const Tensor B = solve(problem_of(m, P, S, with_bias), columns_of(start), ridge).t();  // (k', …)
  const int64_t F = m.hh.size(0);
  return {columns(B, 0, F).contiguous(), with_bias ? B.select(1, F).contiguous() : Tensor()};
}

Refit refit_writer(const SplitMoments& moments, const Writer& start, const Tensor& P,
                   const Tensor& S) {
  const bool with_bias = start.bias.defined();
  const auto problem = [&](const Moments& m) { return problem_of(m, P, S, with_bias); };
  detail::check_finite(moments.fit.hx, "moments");
  detail::check_finite(moments.fit.hz, "moments");
  Refit result;
  result.ridge = kRidgeUntested;
  if (!moments.choose.empty()) {
    std::vector<Problem> unseen;
    for (const Moments& text : moments.choose) unseen.push_back(problem(text));
    result.ridge = chosen_ridge(problem(moments.fit), unseen, columns_of(start));
  }
  result.writer = solve_writer(moments.all(), start, P, S, result.ridge);
  return result;
}

void check_solution(const Tensor& A, const Tensor& B, const Tensor& X, double shift) {
  if (B.numel() == 0) return;
  const double bound = 1000 * static_cast<double>(A.size(0)) * 0x1p-53;
  const Tensor v = at::cos(at::arange(B.size(1), B.options()).square() + 1);  // (m)
  const Tensor x = X.mv(v), b = B.mv(v);                                      // (n)
  const auto size = [](const Tensor& t) { return at::norm(t).item<double>(); };
  const double missed = size(A.mv(x) + shift * x - b);
  const double scale = ((size(A) + shift) * size(X) + size(B)) * size(v);
  SLICE_CHECK_AS(NumericError, missed <= bound * scale,
                 "least squares {}: the solution misses by {}, want at most {}",
                 detail::describe(A), missed, bound * scale);
}

Tensor ridge_solve(Tensor A, const Tensor& B, double ridge) {
  return at::cholesky_solve(B, factor_inplace(A, ridge));
}

Tensor ridge_inverse(Tensor A, double ridge) {
  return at::cholesky_inverse(factor_inplace(A, ridge));
}

}  // namespace slice
