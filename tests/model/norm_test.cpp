#include "libslice/model/norm.h"

#include <ATen/ATen.h>

#include <catch2/catch_all.hpp>

#include "libslice/base/error.h"
#include "tests/support/error_bounds.h"
#include "tests/support/matchers.h"
#include "tests/support/reference.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

using at::Tensor;
using namespace tests;

/// norm(x) is `want`, the norm of rows of k, in float64.
void check_rms_norm(const Tensor& actual, const Tensor& want, int64_t k) {
  CHECK(violation(actual, want, rms_norm_bound(want, k, at::kDouble)) == "");
}

/// The same where the mean is taken out: it is off by γ_k of the mean magnitude, and the variance
/// by γ_k·(1 + mean²/variance) of itself (Chan, Golub and LeVeque, Am. Stat. 37, 1983).
Tensor layer_norm_bound(const Tensor& want, const Tensor& x, const Tensor& scale) {
  const int64_t k = x.size(-1);
  const Tensor mean = x.mean(-1, /*keepdim=*/true), variance = x.var(-1, /*unbiased=*/false, true);
  const Tensor shift = x.abs().mean(-1, true) / variance.sqrt() * scale.abs();
  const Tensor condition = 1 + mean.square() / variance;
  return sum_bound((want.abs() + scale.abs()) * condition + shift, k + 8, at::kDouble);
}

TEST_CASE("a weighted norm equals the loop times its weight") {
  RmsNorm norm(37, 1e-6);
  norm->weight.set_data(gaussian({37}, 1));
  const Tensor x = gaussian({2, 3, 37}, 2);
  check_rms_norm(norm->forward(x), rms_norm_reference(x, 37, 1e-6) * norm->weight, 37);
}

TEST_CASE("a fused norm divides a sliced stream by the unsliced hidden size") {
  RmsNorm norm(37, 1e-6, /*weighted=*/false);
  const Tensor x = gaussian({3, 20}, 2);
  const Tensor padded = at::constant_pad_nd(x, {0, 17});  // the deleted coordinates count as zero
  check_rms_norm(norm->forward(x), rms_norm_reference(padded, 37, 1e-6).slice(1, 0, 20), 37);
  CHECK(norm->named_parameters().is_empty());
}

TEST_CASE("dropping the weight unregisters it and leaves a plain norm") {
  RmsNorm norm(5, 1e-6);
  norm->weight.set_data(at::full({5}, 3.0, at::kDouble));
  const Tensor x = gaussian({2, 5}, 2);
  norm->drop_weights();
  norm->drop_weights();  // harmless the second time
  CHECK_FALSE(norm->weighted());
  CHECK(norm->named_parameters().is_empty());
  check_rms_norm(norm->forward(x), rms_norm_reference(x, 5, 1e-6), 5);
}

TEST_CASE("a LayerNorm is the loop with its weights, and a plain RMSNorm once they are dropped") {
  LayerNorm norm(37, 1e-5);
  norm->weight.set_data(gaussian({37}, 1));
  norm->bias.set_data(gaussian({37}, 3));
  const Tensor x = gaussian({2, 3, 37}, 2) + 1, centred = x - x.mean(-1, /*keepdim=*/true);
  const Tensor want = rms_norm_reference(centred, 37, 1e-5) * norm->weight + norm->bias;
  const Tensor bound = layer_norm_bound(want, x, norm->weight.abs() + norm->bias.abs());
  CHECK(violation(norm->forward(x), want, bound) == "");
  CHECK(norm->named_parameters().size() == 2);
  norm->reset_weights();
  const Tensor plain = rms_norm_reference(centred, 37, 1e-5);
  CHECK(violation(norm->forward(x), plain, layer_norm_bound(plain, x, norm->weight)) == "");
  norm->drop_weights();
  CHECK(norm->named_parameters().is_empty());
  check_rms_norm(norm->forward(x), rms_norm_reference(x, 37, 1e-5), 37);
}

TEST_CASE("a LayerNorm without weights takes the mean out until it is fused") {
  Norm bare(NormKind::kLayer, 37, 1e-5, NormParts{.weight = false, .bias = false});
  const Tensor x = gaussian({2, 3, 37}, 2) + 1, centred = x - x.mean(-1, /*keepdim=*/true);
  const Tensor want = rms_norm_reference(centred, 37, 1e-5),
               bound = layer_norm_bound(want, x, at::ones({37}, at::kDouble));
  CHECK(bare->named_parameters().is_empty());
  CHECK(violation(bare->forward(x), want, bound) == "");
  bare->reset_weights();
  CHECK(violation(bare->forward(x), want, bound) == "");
  CHECK_THROWS_AS(bare->forward(x.slice(-1, 0, 20)), ShapeError);
  bare->drop_weights();
  CHECK_FALSE(bare->centres());
  check_rms_norm(bare->forward(x), rms_norm_reference(x, 37, 1e-5), 37);
  bare->restore_weights({}, {});
  CHECK(violation(bare->forward(x), want, bound) == "");
}

TEST_CASE("a LayerNorm without β is the loop with its α") {
  Norm norm(NormKind::kLayer, 37, 1e-5, NormParts{.bias = false});
  norm->weight.set_data(gaussian({37}, 1));
  const Tensor x = gaussian({2, 3, 37}, 2) + 1, centred = x - x.mean(-1, /*keepdim=*/true);
  const Tensor want = rms_norm_reference(centred, 37, 1e-5) * norm->weight;
  CHECK(norm->named_parameters().size() == 1);
  CHECK(violation(norm->forward(x), want, layer_norm_bound(want, x, norm->weight.abs())) == "");
}

TEST_CASE("norms refuse sizes and streams that do not fit") {
  CHECK_THROWS_AS(RmsNorm(0, 1e-6), ArgumentError);
  CHECK_THROWS_NAMING(RmsNorm(4, -1.0), ArgumentError, "-1");
  RmsNorm weighted(4, 1e-6), fused(4, 1e-6, false);
  weighted->weight.set_data(at::ones({4}));
  CHECK_THROWS_NAMING(weighted->forward(at::ones({2, 3})), ShapeError, "width 4");
  CHECK_THROWS_NAMING(fused->forward(at::ones({2, 5})), ShapeError, "(2, 5)");
}

}  // namespace
}  // namespace slice
