#include "libslice/method/refit.h"

#include <ATen/ATen.h>

#include <catch2/catch_all.hpp>
#include <limits>

#include "libslice/base/error.h"
#include "tests/support/error_bounds.h"
#include "tests/support/matchers.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

using at::Tensor;
using namespace tests;

/// Moments of float64 signals, as a formula.
Moments moments_of(const Tensor& h, const Tensor& x, const Tensor& z) {
  return {.hh = h.t().mm(h),
          .hx = h.t().mm(x),
          .hz = h.t().mm(z),
          .xx = x.t().mm(x),
          .h = h.sum(0),
          .x = x.sum(0),
          .z = z.sum(0),
          .tokens = static_cast<double>(h.size(0))};
}

/// Moments that are sums of `terms` products, in another order than those wanted.
/// @param size  the moments of the magnitudes: Σ|terms|
void check_moments(const Moments& m, const Moments& want, const Moments& size, int64_t terms) {
  const auto check = [&](Tensor Moments::*part) {
    const Tensor bound = sum_bound(size.*part, terms, at::kDouble);
    CHECK(violation(m.*part, want.*part, bound) == "");
  };
  for (Tensor Moments::*part : {&Moments::hh, &Moments::hx, &Moments::hz, &Moments::xx})
    check(part);
  for (Tensor Moments::*part : {&Moments::h, &Moments::x, &Moments::z}) check(part);
  CHECK(m.tokens == want.tokens);
}

/// ‖h Wᵀ + b + x S − z P‖², token by token.
double residual(const Writer& writer, const Tensor& h, const Tensor& x, const Tensor& zP,
                const Tensor& S) {
  const int64_t width = zP.size(1);
  const Tensor shortcut = S.defined() ? x.mm(S) : at::constant_pad_nd(x, {0, width - x.size(1)});
  Tensor error = h.mm(writer.weight.t()) + shortcut - zP;
  if (writer.bias.defined()) error = error + writer.bias;
  return error.square().sum().item<double>();
}

TEST_CASE("sums of moments equal loops over tokens, in whatever pieces they come") {
  struct Row {
    int64_t F, k, D;
  };
  for (const Row& row : {Row{7, 5, 3}, Row{1, 1, 1}, Row{38, 16, 24}, Row{13, 1, 21}}) {
    for (const at::ScalarType dtype : {at::kDouble, at::kFloat, at::kBFloat16}) {
      CAPTURE(row.F, row.k, row.D, c10::toString(dtype));
      const int64_t n = 5000;  // more than a block
      const Tensor h = gaussian({n, row.F}, 1, dtype), x = gaussian({n, row.k}, 2, dtype),
                   z = gaussian({n, row.D}, 3, dtype);
      const auto rows = [](const Tensor& t) { return t.to(at::kDouble); };
      const Moments want = moments_of(rows(h), rows(x), rows(z)),
                    size = moments_of(rows(h).abs(), rows(x).abs(), rows(z).abs());
      MomentSums whole(row.F, row.k, row.D);
      whole.accumulate(h, x, z);
      const Moments m = whole.moments();
      check_moments(m, want, size, n);  // in float64 whatever the dtype
      CHECK(m.hh.is_contiguous());
      MomentSums pieces(row.F, row.k, row.D);
      const Tensor wide = at::cat({x, x}, 1);  // x as a sliced signal has it: columns of a buffer
      for (int64_t begin = 0; begin < n; begin += 999) {
        const int64_t end = std::min(begin + 999, n);
        pieces.accumulate(h.slice(0, begin, end).unsqueeze(0),
                          wide.slice(0, begin, end).slice(1, 0, row.k).unsqueeze(0),
                          z.slice(0, begin, end).unsqueeze(0));
      }
      const Moments same = pieces.moments();
      CHECK(bit_difference(same.hh, m.hh) == "");
      CHECK(bit_difference(same.hx, m.hx) == "");
      CHECK(bit_difference(same.hz, m.hz) == "");
      CHECK(bit_difference(same.z, m.z) == "");
      CHECK(same.tokens == m.tokens);
    }
  }
}

TEST_CASE("weighted sums of moments are those of the signals scaled by the weights' roots") {
  const int64_t n = 5000, F = 7, k = 5, D = 3;
  const double weights[] = {0.25, 9};  // squares, so that the roots are exact
  MomentSums sums(F, k, D);
  Moments want, size;
  for (int text = 0; text < 2; ++text) {
    const Tensor h = gaussian({n, F}, 10 * text + 1), x = gaussian({n, k}, 10 * text + 2),
                 z = gaussian({n, D}, 10 * text + 3);
    sums.set_weight(weights[text]);
    sums.accumulate(h, x, z);
    const auto scaled = [&](Moments m) {
      for (Tensor Moments::*part : {&Moments::hh, &Moments::hx, &Moments::hz, &Moments::xx,
                                    &Moments::h, &Moments::x, &Moments::z})
        m.*part = m.*part * weights[text];
      m.tokens *= weights[text];
      return m;
    };
    const Moments own = scaled(moments_of(h, x, z)),
                  magnitudes = scaled(moments_of(h.abs(), x.abs(), z.abs()));
    want = text == 0 ? own : want + own;
    size = text == 0 ? magnitudes : size + magnitudes;
  }
  check_moments(sums.moments(), want, size, 2 * n + 4);  // and scaled twice
}

TEST_CASE("sums of moments refuse other widths and signals that are not finite") {
  MomentSums sums(4, 3, 2);
  const auto accumulate = [&](int64_t F, int64_t k, int64_t D) {
    sums.accumulate(at::ones({1, F}), at::ones({1, k}), at::ones({1, D}));
  };
  CHECK_THROWS_NAMING(accumulate(5, 3, 2), ShapeError, "widths 4, 3 and 2");
  CHECK_THROWS_AS(accumulate(4, 2, 2), ShapeError);
  CHECK_THROWS_AS(accumulate(4, 3, 1), ShapeError);
  sums.accumulate(at::full({1, 4}, std::numeric_limits<float>::quiet_NaN()), at::ones({1, 3}),
                  at::ones({1, 2}));
  CHECK_THROWS_AS(sums.moments(), NumericError);
}

TEST_CASE("moments of some channels, of another gauge and of two texts are those of the signals") {
  const Tensor h = gaussian({60, 9}, 1), x = gaussian({60, 5}, 2), z = gaussian({60, 7}, 3);
  const Tensor kept = at::tensor({0, 3, 8}, at::kLong), U = orthonormal(5, 5, 4);
  const Moments m = moments_of(h, x, z), size = moments_of(h.abs(), x.abs(), z.abs());
  check_moments(m.with_channels(kept), moments_of(h.index_select(1, kept), x, z),
                size.with_channels(kept), 60);
  check_moments(m.turned(U), moments_of(h, x.mm(U), z),
                moments_of(h.abs(), x.abs().mm(U.abs()), z.abs()), 60 + 2 * 5);
  const auto part = [&](int64_t begin, int64_t end) {
    return moments_of(h.slice(0, begin, end), x.slice(0, begin, end), z.slice(0, begin, end));
  };
  check_moments(part(0, 41) + part(41, 60), m, size, 60);
  CHECK(bit_difference((m + Moments()).hh, m.hh) == "");
  check_moments(m + Moments(), m, size, 60);
}

TEST_CASE("the signal's covariance is that of the signal formed token by token") {
  const int64_t n = 80, F = 11, k = 6, D = 9;
  const Tensor h = gaussian({n, F}, 1), x = gaussian({n, k}, 2), P = orthonormal(D, k, 3),
               W = gaussian({D, F}, 4), b = gaussian({D}, 5);
  const Moments m = moments_of(h, x, gaussian({n, D}, 6));
  for (const Tensor& bias : {Tensor(), b}) {
    Tensor z = x.mm(P.t()) + h.mm(W.t());
    if (bias.defined()) z = z + bias;
    Tensor size = x.abs().mm(P.abs().t()) + h.abs().mm(W.abs().t());
    if (bias.defined()) size = size + bias.abs();
    const Tensor want = z.t().mm(z), C = signal_covariance(m, P, W, bias);
    // Sums of n, on both sides products with P and W, and the parts of z together.
    const int64_t terms = n + 2 * (F + k) + 8;
    CHECK(violation(C, want, sum_bound(size.t().mm(size), terms, at::kDouble)) == "");
    CHECK(bit_difference(C, C.t()) == "");
  }
}

TEST_CASE("a refit finds the writer of a target that one reaches") {
  const int64_t n = 300, F = 12, k = 5, wide = 8, D = 10;
  const Tensor h = gaussian({n, F}, 1) + 0.5, x = gaussian({n, k}, 2);
  struct Row {
    const char* name;
    Tensor P, S;
    int64_t width;
  };
  for (const Row& row :
       {Row{"basis and shortcut", orthonormal(D, wide, 3), gaussian({k, wide}, 4), wide},
        Row{"identity shortcut", orthonormal(D, k, 3), Tensor(), k},
        Row{"padded shortcut", orthonormal(D, wide, 3), Tensor(), wide},
        Row{"no basis", Tensor(), Tensor(), D}}) {
    for (const bool with_bias : {false, true}) {
      CAPTURE(row.name, with_bias);
      const Tensor W = gaussian({row.width, F}, 5), b = gaussian({row.width}, 6);
      Tensor target = h.mm(W.t()) +
                      (row.S.defined() ? x.mm(row.S) : at::constant_pad_nd(x, {0, row.width - k}));
      if (with_bias) target = target + b;
      // z P = target, and something besides that P does not see.
      Tensor z = target;
      if (row.P.defined()) {
        const Tensor unseen = gaussian({n, D}, 7);
        z = target.mm(row.P.t()) + unseen - unseen.mm(row.P).mm(row.P.t());
      }
      Writer start;
      start.weight = W + gaussian(W.sizes(), 8);
      if (with_bias) start.bias = b + gaussian(b.sizes(), 9);
      const auto half = [&](int64_t begin, int64_t end) {
        return moments_of(h.slice(0, begin, end), x.slice(0, begin, end), z.slice(0, begin, end));
      };
      const Moments fit = half(0, 200), held = half(200, n);
      const Refit refit = refit_writer({fit, {held}}, start, row.P, row.S);
      CHECK(refit.ridge == 1e-4);
      REQUIRE(refit.writer.bias.defined() == with_bias);
      // The ridge pulls the error of the start's columns back by no more than
      // ρ·mean diag(A) / (λ_min + ρ·mean diag(A)).
      const Tensor design = with_bias ? at::cat({h, at::ones({n, 1}, at::kDouble)}, 1) : h;
      const Tensor A = design.t().mm(design);
      const double pull = refit.ridge * A.diagonal().mean().item<double>();
      const Tensor values = at::linalg_eigvalsh(A) + pull;
      const double least = values.min().item<double>(), share = pull / least;
      // Rounded besides: the moments, sums of products with P and S, which (A + pull)⁻¹ amplifies,
      // and the solve; twice, since z is rounded as they are.
      const auto norm = [](const Tensor& t) { return t.defined() ? t.norm().item<double>() : 1.0; };
      const double weights = norm(start.weight) + norm(W) + (with_bias ? norm(start.bias) : 0);
      const double terms =
          norm(design) * (norm(design) * weights + norm(z) * norm(row.P) + norm(x) * norm(row.S));
      const double rounded =
          2 * (gamma_n(n + F + D + k + 2, at::kDouble) * terms / least +
               solve_bound(A.size(0), values.max().item<double>() / least) * weights);
      double distance = (start.weight - W).square().sum().item<double>(),
             left = (refit.writer.weight - W).square().sum().item<double>();
      if (with_bias) {
        distance += (start.bias - b).square().sum().item<double>();
        left += (refit.writer.bias - b).square().sum().item<double>();
      }
      CHECK(std::sqrt(left) <= share * std::sqrt(distance) + rounded);
      CHECK(share < 0.01);
    }
  }
}

TEST_CASE("on the text it was fitted to a refit is never worse than the writer it began with") {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    CAPTURE(seed);
    const int64_t F = 15, k = 6, D = 8, n = seed % 2 ? 10 : 100;  // fewer tokens than channels too
    const Tensor h = gaussian({n, F}, seed), x = gaussian({n, k}, seed + 20),
                 z = gaussian({n, D}, seed + 40), P = orthonormal(D, k, seed + 60);
    Writer start = {.weight = gaussian({k, F}, seed + 80), .bias = {}};
    if (seed % 3 == 0) start.bias = gaussian({k}, seed + 100);
    const Tensor others[] = {gaussian({20, F}, 1), gaussian({20, k}, 2), gaussian({20, D}, 3)};
    for (const bool tested : {true, false}) {
      SplitMoments moments = {moments_of(h, x, z), {}};
      if (tested) moments.choose = {moments_of(others[0], others[1], others[2])};
      const Refit refit = refit_writer(moments, start, P, Tensor());
      const auto error = [&](const Writer& writer) {
        const double own = residual(writer, h, x, z.mm(P), {});
        return tested ? own + residual(writer, others[0], others[1], others[2].mm(P), {}) : own;
      };
      CHECK(error(refit.writer) <= error(start));
      if (!tested) CHECK(refit.ridge == 1e-2);
    }
  }
}

TEST_CASE("a refit to all tokens is the fit to both texts with the ridge that was chosen") {
  const int64_t F = 9, k = 4;
  const auto text = [&](uint64_t seed) {
    return moments_of(gaussian({50, F}, seed), gaussian({50, k}, seed + 1),
                      gaussian({50, k}, seed + 2));
  };
  const Moments fit = text(1), held = text(11);
  const Writer start = {.weight = gaussian({k, F}, 30), .bias = {}};
  const Refit refit = refit_writer({fit, {held}}, start, {}, {});
  const Tensor A = fit.hh + held.hh, R = fit.hz + held.hz - fit.hx - held.hx;
  const Tensor pull = refit.ridge * A.diagonal().mean() * at::eye(F, at::kDouble);
  const Tensor want = at::linalg_solve(A + pull, R + pull.mm(start.weight.t())).t();
  // The same moments: the solves differ, and sides of the equation that are summed in other orders.
  const double condition = at::linalg_cond(A + pull).item<double>();
  const double size = want.norm().item<double>() + start.weight.norm().item<double>();
  CHECK(violation(refit.writer.weight, want, 4 * solve_bound(F, condition) * size) == "");
}

TEST_CASE("noise in few tokens calls for a larger ridge") {
  const int64_t F = 40, k = 6, n = 60;
  const Tensor W = gaussian({k, F}, 1);
  const Writer start = {.weight = 0.95 * W, .bias = {}};
  const auto ridge = [&](double noise) {
    const auto text = [&](uint64_t seed) {
      const Tensor h = gaussian({n, F}, seed), x = gaussian({n, k}, seed + 1);
      return moments_of(h, x, x + h.mm(W.t()) + noise * gaussian({n, k}, seed + 2));
    };
    return refit_writer({text(10), {text(20)}}, start, {}, {}).ridge;
  };
  CHECK(ridge(0) == 1e-4);
  CHECK(ridge(5) == 1e-1);
}

TEST_CASE("of two texts the ridge is the one that loses least where it loses most") {
  // A quiet text whose writer is not where the start is, so that a large ridge misses it, and a
  // loud one that is noise, for which the larger the better.
  const int64_t F = 40, k = 6, n = 60;
  const Tensor W = gaussian({k, F}, 1);
  const Writer start = {.weight = 0.95 * W, .bias = {}};
  const auto text = [&](uint64_t seed, double size, double noise) {
    const Tensor h = size * gaussian({n, F}, seed), x = gaussian({n, k}, seed + 1);
    return moments_of(h, x, x + h.mm(W.t()) + size * noise * gaussian({n, k}, seed + 2));
  };
  const Moments fit = text(10, 1, 5);
  const auto ridge = [&](std::vector<Moments> choose) {
    return refit_writer({fit, std::move(choose)}, start, {}, {}).ridge;
  };
  const Moments noisy = text(20, 1, 5), quiet = text(30, 0.01, 0), loud = text(20, 1000, 5);
  const double wide = ridge({noisy});
  CHECK(ridge({noisy, noisy}) == wide);
  // How loud a text is changes nothing: each is measured by its own energy.
  CHECK(ridge({quiet, noisy}) == ridge({quiet, loud}));
  CHECK(ridge({quiet, noisy}) == ridge({noisy, quiet}));
}

TEST_CASE("a ridge is a share of the mean diagonal") {
  for (const int64_t n : {1, 2, 23}) {
    const Tensor h = gaussian({2 * n, n}, 1), A = h.t().mm(h), B = gaussian({n, 4}, 2);
    for (const double ridge : {0.0, 1e-3, 1.0}) {
      CAPTURE(n, ridge);
      const Tensor ridged = A + ridge * A.diagonal().mean() * at::eye(n, at::kDouble);
      const double condition = at::linalg_cond(ridged).item<double>();
      // The solve's and that of the product here, column by column.
      const double bound = 2 * solve_bound(n, condition);
      CHECK(violation(ridged.mm(ridge_solve(A.clone(), B, ridge)), B,
                      bound * B.norm(2, 0, /*keepdim=*/true)) == "");
      const Tensor inverse = ridge_inverse(A.clone(), ridge);
      CHECK(violation(ridged.mm(inverse), at::eye(n, at::kDouble), bound) == "");
      CHECK(violation(inverse, inverse.t(), bound * inverse.norm()) == "");
    }
  }
}

TEST_CASE("least squares over what writes nothing leave things as they were") {
  const Tensor zero = at::zeros({3, 3}, at::kDouble);
  const Tensor nothing = at::zeros({3, 2}, at::kDouble);
  CHECK(bit_difference(ridge_solve(zero.clone(), nothing, 1e-4), nothing) == "");
  CHECK(bit_difference(ridge_inverse(zero.clone(), 1e-4), at::eye(3, at::kDouble)) == "");
  for (const bool with_bias : {false, true}) {
    const Tensor h = at::zeros({20, 3}, at::kDouble), z = gaussian({20, 2}, 3);
    const Moments silent = moments_of(h, gaussian({20, 2}, 2), z);
    const Writer start = {.weight = gaussian({2, 3}, 4),
                          .bias = with_bias ? gaussian({2}, 5) : Tensor()};
    const Refit refit = refit_writer({silent, {}}, start, {}, {});
    CHECK(bit_difference(refit.writer.weight, start.weight) == "");
    CHECK(refit.writer.bias.defined() == with_bias);
  }
}

TEST_CASE("a solution that does not solve is noticed") {
  const Tensor h = gaussian({60, 20}, 1), A = h.t().mm(h), B = gaussian({20, 7}, 2);
  const double ridge = 1e-2, shift = ridge * A.diagonal().mean().item<double>();
  const Tensor X = ridge_solve(A.clone(), B, ridge);
  CHECK_NOTHROW(check_solution(A, B, X, shift));
  CHECK_THROWS_NAMING(check_solution(A, B, X, 1.001 * shift), NumericError, "the solution misses");
  Tensor wrong = X.clone();
  wrong[3][5] += 1e-6;
  CHECK_THROWS_NAMING(check_solution(A, B, wrong, shift), NumericError, "the solution misses");
  wrong[3][5] = std::numeric_limits<double>::quiet_NaN();
  CHECK_THROWS_AS(check_solution(A, B, wrong, shift), NumericError);
}

TEST_CASE("least squares refuse moments that are not positive") {
  const Tensor negative = -at::eye(3, at::kDouble), B = at::ones({3, 1}, at::kDouble);
  CHECK_THROWS_NAMING(ridge_solve(negative.clone(), B, 1e-3), NumericError,
                      "not positive definite");
  CHECK_THROWS_AS(ridge_inverse(negative.clone(), 1e-3), NumericError);
  Moments m = moments_of(gaussian({20, 3}, 1), gaussian({20, 2}, 2), gaussian({20, 2}, 3));
  m.hh[1][1] = std::numeric_limits<double>::quiet_NaN();
  const Writer start = {.weight = at::zeros({2, 3}, at::kDouble), .bias = {}};
  CHECK_THROWS_AS(refit_writer({m, {}}, start, {}, {}), NumericError);
}

}  // namespace
}  // namespace slice
