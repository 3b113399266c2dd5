#include "libslice/method/output_norm.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <catch2/catch_all.hpp>
#include <cmath>

#include "tests/support/error_bounds.h"
#include "tests/support/matchers.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

using at::Tensor;
using namespace tests;

/// A sublayer with a norm on its output: what its writer reads, the dense writer, and the signals
/// that a refit sees, where those before it are off by `noise`.
struct Normed {
  static constexpr int64_t N = 12, T = 25, F = 9, D = 7;

  explicit Normed(const Tensor& gamma, bool with_bias = true, double noise = 0.3,
                  double outputs = 1, uint64_t seed = 1)
      : norm(NormKind::kRms, gamma.size(0), 1e-6) {
    const int64_t width = gamma.size(0);
    norm->weight.set_data(gamma);
    const Tensor loud = gaussian({N, T, 1}, seed).exp();  // r differs from token to token
    h = gaussian({N, T, F}, seed + 1) * loud + 0.1;
    dense.weight = gaussian({width, F}, seed + 2) * outputs;
    if (with_bias) dense.bias = gaussian({width}, seed + 3) * outputs;
    o = at::linear(h, dense.weight, dense.bias);
    const Tensor before = gaussian({N, T, width}, seed + 4);
    z = before + norm->forward(o);
    // Half of what was lost before is something that h knows of.
    const Tensor known = at::matmul(h / h.square().mean(-1, true).sqrt(),
                                    gaussian({F, width}, seed + 6) / std::sqrt(1.0 * F));
    x = before + noise / 2 * (gaussian({N, T, width}, seed + 5) + known);
  }

  detail::OutputNorm output() const {
    detail::OutputNorm output(norm, N);
    for (int64_t window = 0; window < N; window += 5)  // in chunks
      output.see(window, o.slice(0, window, std::min(window + 5, N)));
    output.finish(N, {});
    return output;
  }

  Moments moments(const detail::OutputNorm& output) const {
    MomentSums sums(F, z.size(2), z.size(2));
    sums.accumulate(h, x, z, output.scale(0, N));
    return sums.moments();
  }

  /// ‖x̂ + norm(h Wᵀ + b) − z‖²
  double error(const Writer& writer) const {
    return (x + norm->forward(at::linear(h, writer.weight, writer.bias)) - z)
        .square()
        .sum()
        .item<double>();
  }

  Norm norm;
  Tensor h, o, x, z;
  Writer dense;
};

Tensor usual_gamma() { return 1 + 0.5 * gaussian({Normed::D}, 31); }

TEST_CASE("a refit before a norm on the output is the least squares of what the norm gives") {
  for (const bool with_bias : {false, true}) {
    CAPTURE(with_bias);
    const Normed s(usual_gamma(), with_bias);
    const detail::OutputNorm output = s.output();
    const Writer start = output.scaled(s.dense);
    const Refit refit = refit_writer({s.moments(output), {}}, start, {}, {});
    const Writer got = output.unscaled(refit.writer, start);
    // Row by row:  ‖γ_j a w / r − (z − x̂)_j‖² + λ (γ_j / r̄)² ‖w − w₀‖²,  a = [h 1]
    const Tensor rows = s.h.view({-1, Normed::F}), r = s.norm->divisor(s.o).view({-1, 1});
    const Tensor a =
        (with_bias ? at::cat({rows, at::ones({rows.size(0), 1}, at::kDouble)}, 1) : rows) / r;
    const int64_t n = a.size(1);
    const double mean = std::sqrt(1 / r.square().reciprocal().mean().item<double>());
    const double pull =
        refit.ridge * (a * mean).square().sum(0).mean().item<double>();  // λ, of the scaled rows
    for (int64_t j = 0; j < Normed::D; ++j) {
      const double gamma = s.norm->weight[j].item<double>();
      const Tensor tie = std::sqrt(pull) * std::abs(gamma) / mean * at::eye(n, at::kDouble);
      Tensor first = s.dense.weight[j], found = got.weight[j];
      if (with_bias) {
        first = at::cat({first, s.dense.bias[j].view({1})});
        found = at::cat({found, got.bias[j].view({1})});
      }
      const Tensor target = (s.z - s.x).select(2, j).reshape({-1});
      const Tensor want =
          std::get<0>(at::linalg_lstsq(at::cat({gamma * a, tie}),
                                       at::cat({target, tie.mv(first)}).unsqueeze(1)))
              .squeeze(1);
      // Of a condition that the ridge keeps below tr(A) / (ρ·mean diag A) = n / ρ.
      CHECK(relative_difference(found, want) <
            4 * solve_bound(n, static_cast<double>(n) / refit.ridge));
    }
  }
}

TEST_CASE(
    "signals before a norm on the output are scaled to the size that they have, in the mean") {
  for (const double outputs : {1e-4, 1.0, 1e4}) {  // half precision has room for none of the ends
    CAPTURE(outputs);
    const Normed s(usual_gamma(), true, 0, outputs);
    const detail::OutputNorm output = s.output();
    const Tensor scale = output.scale(0, Normed::N);
    CHECK(violation(scale.square().mean(), at::ones({}, at::kDouble),
                    2 * gamma_n(scale.numel() + 8, at::kDouble)) == "");
    CHECK(bit_difference(output.scale(3, 7), scale.slice(0, 3, 7)) == "");
    // a' Vᵀ is what the norm gives.
    const Writer V = output.scaled(s.dense);
    const Tensor rows = at::cat({s.h, at::ones({Normed::N, Normed::T, 1}, at::kDouble)}, 2) * scale,
                 weight = at::cat({V.weight, V.bias.unsqueeze(1)}, 1);
    const Tensor size = at::matmul(rows.abs(), weight.abs().t());
    CHECK(violation(at::matmul(rows, weight.t()), s.norm->forward(s.o),
                    sum_bound(size, Normed::F + Normed::D + 16, at::kDouble)) == "");
  }
}

TEST_CASE("without a norm on the output nothing is scaled") {
  detail::OutputNorm output;
  output.see(0, gaussian({2, 3, 4}, 1));
  output.finish(2, {});
  CHECK_FALSE(output.scale(0, 2).defined());
  const Writer writer = {gaussian({4, 5}, 2), gaussian({4}, 3)};
  const Writer there = output.scaled(writer), back = output.unscaled(there, writer);
  CHECK(there.weight.is_same(writer.weight));
  CHECK(back.weight.is_same(writer.weight));
  CHECK(back.bias.is_same(writer.bias));
}

TEST_CASE("rows of a norm's smallest weights, zeros too, stay as they were") {
  Tensor gamma = usual_gamma();
  const double mean = gamma.abs().mean().item<double>();
  gamma[1] = 0.0;
  gamma[4] = -0.5 * detail::kOutputNormFloor * mean;
  gamma[5] = -2 * detail::kOutputNormFloor * mean;
  const Normed s(gamma);
  const detail::OutputNorm output = s.output();
  const Writer start = output.scaled(s.dense),
               got = output.unscaled(refit_writer({s.moments(output), {}}, start, {}, {}).writer,
                                     start);
  for (int64_t j = 0; j < Normed::D; ++j) {
    CAPTURE(j);
    const double moved = relative_difference(got.weight[j], s.dense.weight[j]);
    if (j == 1 || j == 4) {
      CHECK(moved <= gamma_n(2, at::kDouble));  // multiplied and divided
      CHECK(std::abs((got.bias[j] / s.dense.bias[j]).item<double>() - 1) <=
            gamma_n(2, at::kDouble));
    } else {
      CHECK(moved > 1e-3);
    }
  }
}

TEST_CASE("refitting the rows below the floor would change r, and cost more than it repairs") {
  const int64_t D = 96;
  const Tensor drawn = at::rand({D}, at::detail::createCPUGenerator(5), at::kDouble);
  const Tensor gamma =
      at::where(at::arange(D) < 30, at::pow(10.0, -5 * drawn), 1 + 0.3 * gaussian({D}, 41));
  double floored = 0, twentieth = 0, dense = 0;
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    const Normed s(gamma, false, 1, 1, 100 * seed);
    const detail::OutputNorm output = s.output();
    const Writer start = output.scaled(s.dense);
    const Writer V = refit_writer({s.moments(output), {}}, start, {}, {}).writer;
    floored += s.error(output.unscaled(V, start));
    // The same with a twentieth of the floor.
    const Tensor least = detail::kOutputNormFloor * gamma.abs().mean();
    const Tensor clamped = start.weight.select(1, 0) / s.dense.weight.select(1, 0);  // g
    const Tensor g = at::where(gamma.abs() < least, clamped * gamma / least, clamped);
    Writer more;
    more.weight = at::where((gamma.abs() >= least / 20).unsqueeze(1), V.weight / g.unsqueeze(1),
                            s.dense.weight);
    twentieth += s.error(more);
    dense += s.error(s.dense);
  }
  CHECK(floored < 0.9 * dense);
  CHECK(floored < 0.5 * twentieth);
}

}  // namespace
}  // namespace slice
