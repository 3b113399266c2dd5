#include "libslice/model/mlp.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <catch2/catch_all.hpp>
#include <cmath>

#include "libslice/base/error.h"
#include "tests/support/error_bounds.h"
#include "tests/support/matchers.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

using at::Tensor;
using namespace tests;

TEST_CASE("a gated MLP multiplies silu(gate) by up") {
  Linear gate(6, 5, true), up(6, 5, true);
  uint64_t seed = 0;
  for (const Linear& linear : {gate, up}) {
    linear->weight.set_data(gaussian({5, 6}, ++seed));
    linear->bias.set_data(gaussian({5}, ++seed));
  }
  const Tensor n = gaussian({2, 3, 6}, 9), g = gate->forward(n), u = up->forward(n);
  Tensor want = at::empty_like(g);
  const auto G = g.accessor<double, 3>(), U = u.accessor<double, 3>();
  auto W = want.accessor<double, 3>();
  for (int64_t b = 0; b < 2; ++b) {
    for (int64_t t = 0; t < 3; ++t) {
      for (int64_t i = 0; i < 5; ++i)
        W[b][t][i] = G[b][t][i] / (1 + std::exp(-G[b][t][i])) * U[b][t][i];
    }
  }
  // On both sides an exponential to a unit in the last place, a sum, a quotient and a product.
  CHECK(violation(Mlp(Activation::kSilu, gate, up).hidden(n), want,
                  sum_bound(want.abs(), 6, at::kDouble)) == "");
}

TEST_CASE("xIELU is a parabola above zero and an exponential below, by its own constants") {
  Linear up(6, 5, false);
  up->weight.set_data(gaussian({5, 6}, 1));
  Xielu xielu;
  const double p = 0.3, m = -0.7, beta = 0.5, eps = -1e-6;
  xielu->alpha_p.set_data(at::full({1}, p, at::kDouble));
  xielu->alpha_n.set_data(at::full({1}, m, at::kDouble));
  xielu->beta.set_data(at::scalar_tensor(beta, at::kDouble));
  xielu->eps.set_data(at::scalar_tensor(eps, at::kDouble));
  const double a = std::log1p(std::exp(p)), c = beta + std::log1p(std::exp(m));
  const Tensor n = gaussian({3, 6}, 9), u = up->forward(n), hidden = Mlp(xielu, up).hidden(n);
  for (int64_t i = 0; i < u.numel(); ++i) {
    const double x = u.flatten()[i].item<double>();
    const double want =
        x > 0 ? a * x * x + beta * x : (std::expm1(std::min(x, eps)) - x) * c + beta * x;
    // Functions to a unit in the last place and a few sums and products.
    CHECK_THAT(hidden.flatten()[i].item<double>(),
               Catch::Matchers::WithinAbs(want, gamma_n(32, at::kDouble) * (1 + x * x)));
  }
  CHECK_THROWS_AS(activate(Activation::kXielu, n), ArgumentError);
}

TEST_CASE("an MLP without a gate is the activation of up") {
  const std::pair<Activation, double (*)(double)> rows[] = {
      {Activation::kSilu, [](double x) { return x / (1 + std::exp(-x)); }},
      {Activation::kRelu, [](double x) { return x > 0 ? x : 0; }},
      {Activation::kGelu, [](double x) { return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0))); }},
      {Activation::kGeluTanh, [](double x) {
         const double inner = std::sqrt(2 / std::acos(-1.0)) * (x + 0.044715 * x * x * x);
         return 0.5 * x * (1 + std::tanh(inner));
       }}};
  Linear up(6, 5, true);
  up->weight.set_data(gaussian({5, 6}, 1));
  up->bias.set_data(gaussian({5}, 2));
  const Tensor n = gaussian({3, 6}, 9), u = up->forward(n);
  for (const auto& [activation, function] : rows) {
    const Tensor hidden = Mlp(activation, up).hidden(n);
    for (int64_t i = 0; i < u.numel(); ++i) {
      const double x = u.flatten()[i].item<double>();
      // Functions to a unit in the last place and a few sums, of numbers up to |x| + 1.
      CHECK_THAT(
          hidden.flatten()[i].item<double>(),
          Catch::Matchers::WithinAbs(function(x), gamma_n(32, at::kDouble) * (1 + std::abs(x))));
    }
  }
}

}  // namespace
}  // namespace slice
