#include "libslice/model/experts.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <catch2/catch_all.hpp>
#include <cmath>
#include <numeric>

#include "tests/support/error_bounds.h"
#include "tests/support/matchers.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

using at::Tensor;
using namespace tests;

constexpr int64_t kIn = 6, kWidth = 5, kOut = 4;

Linear random_linear(int64_t in, int64_t out, uint64_t seed) {
  Linear linear(in, out, false);
  linear->weight.set_data(gaussian({out, in}, seed));
  return linear;
}

struct Parts {
  explicit Parts(int64_t count) : router(random_linear(kIn, count, 100)) {
    for (int64_t e = 0; e < count; ++e) {
      gates.push_back(random_linear(kIn, kWidth, 3 * e + 1));
      ups.push_back(random_linear(kIn, kWidth, 3 * e + 2));
      const Linear down = random_linear(kWidth, kOut, 3 * e + 3);
      experts.push_back({Mlp(Activation::kSilu, gates.back(), ups.back()), down});
    }
  }
  Linear router;
  std::vector<Linear> gates, ups;
  std::vector<Expert> experts;
};

/// The mixture for one token n (k), by its definition.
Tensor by_the_book(const Parts& parts, const ExpertSizes& sizes, const Tensor& n) {
  const Tensor logits = parts.router->weight.mv(n);
  std::vector<double> p;
  for (int64_t e = 0; e < sizes.count; ++e) p.push_back(std::exp(logits[e].item<double>()));
  const double all = std::accumulate(p.begin(), p.end(), 0.0);
  for (double& share : p) share /= all;
  std::vector<size_t> order(p.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::sort(order, [&](size_t a, size_t b) { return p[a] > p[b]; });
  order.resize(static_cast<size_t>(sizes.per_token));
  double chosen = 0;
  for (const size_t e : order) chosen += p[e];
  Tensor y = at::zeros({kOut}, n.options());
  for (const size_t e : order) {
    const Tensor g = parts.gates[e]->weight.mv(n), u = parts.ups[e]->weight.mv(n);
    const Tensor h = g / (1 + (-g).exp()) * u;
    y = y + parts.experts[e].down->weight.mv(h) * (sizes.normalised ? p[e] / chosen : p[e]);
  }
  return y;
}

TEST_CASE("a token gets what the experts with the largest shares write, times these shares") {
  for (const ExpertSizes& sizes :
       {ExpertSizes{4, 2, false}, ExpertSizes{4, 2, true}, ExpertSizes{5, 1, false},
        ExpertSizes{3, 3, true}, ExpertSizes{1, 1, true}}) {
    CAPTURE(sizes.count, sizes.per_token, sizes.normalised);
    const Parts parts(sizes.count);
    const Experts mixture(sizes, parts.router, parts.experts);
    const Tensor n = gaussian({2, 7, kIn}, 9), y = mixture.forward(n);
    REQUIRE(y.sizes() == at::IntArrayRef({2, 7, kOut}));
    for (int64_t b = 0; b < 2; ++b) {
      for (int64_t t = 0; t < 7; ++t) {
        const Tensor want = by_the_book(parts, sizes, n[b][t]);
        // Sums of at most kIn and kWidth products and a few functions, of numbers below 100.
        CHECK(violation(y[b][t], want, 100 * gamma_n(64, at::kDouble)) == "");
      }
    }
    CHECK(mixture.forward(n.slice(1, 0, 0)).sizes() == at::IntArrayRef({2, 0, kOut}));
  }
}

TEST_CASE("a mixture's gradient is that of finite differences, through its shares too") {
  const ExpertSizes sizes{4, 2, true};
  const Parts parts(sizes.count);
  const Experts mixture(sizes, parts.router, parts.experts);
  const Tensor n = gaussian({3, kIn}, 9), weights = gaussian({3, kOut}, 10);
  const Tensor x = n.clone().set_requires_grad(true);
  (mixture.forward(x) * weights).sum().backward();
  constexpr double kStep = 1e-5;
  for (int64_t t = 0; t < 3; ++t) {
    for (int64_t i = 0; i < kIn; ++i) {
      Tensor more = n.clone(), less = n.clone();
      more[t][i] += kStep;
      less[t][i] -= kStep;
      const double slope =
          ((mixture.forward(more) - mixture.forward(less)) * weights).sum().item<double>() /
          (2 * kStep);
      // The third derivative times a step squared, and rounding divided by a step.
      CHECK_THAT(x.grad()[t][i].item<double>(), Catch::Matchers::WithinAbs(slope, 1e-6));
    }
  }
}

}  // namespace
}  // namespace slice
