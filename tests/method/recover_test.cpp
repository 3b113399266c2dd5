#include "libslice/method/recover.h"

#include <ATen/ATen.h>

#include <catch2/catch_all.hpp>
#include <cmath>
#include <vector>

#include "tests/support/error_bounds.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

using at::Tensor;
using namespace tests;

/// ε of adam_step_inplace.
constexpr double kEpsilon = 1e-7;

TEST_CASE("the first step of Adam moves every number by the rate, against its gradient's sign") {
  const Tensor start = gaussian({7, 5}, 1);
  const Tensor gradient = gaussian({7, 5}, 2).sign() * 3;
  AdamState state(start, /*step_scale=*/0.5);
  adam_step_inplace(state, gradient, 0.25, {.rate = 0.1});
  const Tensor want = start - 0.25 * 0.1 * 0.5 * gradient.sign();
  // m̂ / (√v̂ + ε) = ±3 / (3 + ε); every other operation rounds.
  const double bound = 0.25 * 0.1 * 0.5 * kEpsilon / 3 + 16 * roundoff(at::kDouble) * 4;
  CHECK((state.master - want).abs().max().item<double>() <= bound);
}

TEST_CASE("steps of Adam are those of the published algorithm, number by number") {
  const RecoverSettings settings{.rate = 0.03, .mean = 0.8, .square = 0.95};
  const double scale = 0.7, numbers = 11;
  const Tensor start = gaussian({static_cast<int64_t>(numbers)}, 3);
  AdamState state(start, scale);
  Tensor w = start.clone(), m = at::zeros_like(w), v = at::zeros_like(w);
  for (int t = 1; t <= 6; ++t) {
    const Tensor g = gaussian({static_cast<int64_t>(numbers)}, 10 + t);
    const double c = 1.0 / t;
    adam_step_inplace(state, g, c, settings);
    for (int64_t i = 0; i < g.numel(); ++i) {
      double &wi = w.data_ptr<double>()[i], &mi = m.data_ptr<double>()[i],
             &vi = v.data_ptr<double>()[i];
      const double gi = g.const_data_ptr<double>()[i];
      mi = settings.mean * mi + (1 - settings.mean) * gi;
      vi = settings.square * vi + (1 - settings.square) * gi * gi;
      const double mean = mi / (1 - std::pow(settings.mean, t)),
                   square = vi / (1 - std::pow(settings.square, t));
      wi -= c * settings.rate * scale * mean / (std::sqrt(square) + kEpsilon);
    }
  }
  // Some twenty roundings a step, of numbers below 4, which later steps only shrink.
  CHECK((state.master - w).abs().max().item<double>() <= 6 * 40 * roundoff(at::kDouble) * 4);
}

TEST_CASE("half types get float32 masters, which steps too small for the half type move") {
  const Tensor start = at::ones({9}, at::kHalf);
  AdamState state(start, 1);
  REQUIRE(state.master.scalar_type() == at::kFloat);
  const double step = roundoff(at::kHalf) / 8;
  adam_step_inplace(state, at::ones({9}, at::kFloat), 1, {.rate = step});
  const double bound = step * kEpsilon + 8 * roundoff(at::kFloat);
  CHECK((state.master - (1 - step)).abs().max().item<double>() <= bound);
  CHECK(at::equal(start, at::ones({9}, at::kHalf)));
}

TEST_CASE("steps grow evenly to the largest, then shrink, and none is nothing") {
  for (const int64_t n : {1, 2, 10, 101}) {
    INFO(n);
    const auto rising = static_cast<int64_t>(std::ceil(0.1 * static_cast<double>(n)));
    std::vector<double> shares;
    for (int64_t i = 0; i < n; ++i) shares.push_back(step_share(i, n, 0.1));
    CHECK(shares[rising - 1] == 1);
    for (int64_t i = 1; i < n; ++i)
      CHECK((i < rising ? shares[i] > shares[i - 1] : shares[i] < shares[i - 1]));
    CHECK(shares.back() > 0);
  }
}

}  // namespace
}  // namespace slice
