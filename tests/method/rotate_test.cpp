#include "libslice/method/rotate.h"

#include <ATen/ATen.h>

#include <catch2/catch_all.hpp>

#include "libslice/base/error.h"
#include "tests/support/error_bounds.h"
#include "tests/support/matchers.h"
#include "tests/support/two_branch_model.h"

namespace slice {
namespace {

using at::Tensor;
using namespace tests;

constexpr int64_t D = TwoBranchModel::D, k = 13;

/// Of W diag(α) P, or of Pᵀ W: products of D terms and one factor more, in float64.
Tensor rotation_bound(const Tensor& x, const Tensor& W) {
  return sum_bound(product_magnitudes(x, W), D + 1, at::kDouble);
}

TEST_CASE("readers become W diag(α) P and their norm loses its weight") {
  TwoBranchModel model;
  Sublayer& s = model.adapter.sublayers[0];
  const Tensor P = orthonormal(D, k, 1), alpha = s.norm->weight.clone();
  const Tensor before[2] = {s.branches[0].readers[0].weight.clone(),
                            s.branches[1].readers[0].weight.clone()};
  const Tensor bias = s.branches[0].readers[0].bias.clone();
  rotate_readers(s, P);
  for (int branch = 0; branch < 2; ++branch) {
    const Tensor want = before[branch].mm(at::diag(alpha)).mm(P);
    CHECK(violation(s.branches[branch].readers[0].weight, want,
                    rotation_bound(before[branch] * alpha, P.t())) == "");
  }
  CHECK(bit_difference(s.branches[0].readers[0].bias, bias) == "");
  CHECK_FALSE(s.norm->weighted());
}

TEST_CASE("readers of two norms take each their own weight, and both norms lose it") {
  TwoBranchModel model;
  model.split_norms();
  Sublayer& s = model.adapter.sublayers[0];
  const Tensor P = orthonormal(D, k, 1);
  for (int branch = 0; branch < 2; ++branch) CHECK(s.norm_of(s.branches[branch])->weighted());
  Tensor want[2], bound[2];
  for (int branch = 0; branch < 2; ++branch) {
    const Tensor W = s.branches[branch].readers[0].weight * s.norm_of(s.branches[branch])->weight;
    want[branch] = W.mm(P);
    bound[branch] = rotation_bound(W, P.t());
  }
  rotate_readers(s, P);
  for (int branch = 0; branch < 2; ++branch) {
    CHECK(violation(s.branches[branch].readers[0].weight, want[branch], bound[branch]) == "");
    CHECK_FALSE(s.norm_of(s.branches[branch])->weighted());
  }
}

TEST_CASE("writers become PᵀW and Pᵀb") {
  TwoBranchModel model;
  Sublayer& s = model.adapter.sublayers[1];
  const Tensor P = orthonormal(D, k, 2);
  const Tensor W = s.branches[1].writer.weight.clone(), b = s.branches[1].writer.bias.clone();
  rotate_writers(s, P);
  CHECK(violation(s.branches[1].writer.weight, P.t().mm(W), rotation_bound(P.t(), W.t())) == "");
  CHECK(violation(s.branches[1].writer.bias, P.t().mv(b),
                  rotation_bound(P.t(), b.unsqueeze(0)).squeeze(1)) == "");
  CHECK(s.branches[0].writer.weight.sizes() == at::IntArrayRef({k, TwoBranchModel::F}));
}

TEST_CASE("all embeddings become EP, and the module sees it") {
  TwoBranchModel model;
  const Tensor P = orthonormal(D, k, 3), words = model.words->weight.clone(),
               positions = model.positions->weight.clone();
  rotate_embeddings(model.adapter, P);
  CHECK(violation(model.words->weight, words.mm(P), rotation_bound(words, P.t())) == "");
  CHECK(violation(model.positions->weight, positions.mm(P), rotation_bound(positions, P.t())) ==
        "");
  CHECK(model.words->named_parameters()["weight"].size(1) == k);  // registered under its name
}

TEST_CASE("the head becomes W diag(α) P, in pieces when it is tall") {
  TwoBranchModel model;
  const Tensor tall = gaussian({4096 * 2 + 5, D}, 8, at::kFloat),
               alpha = model.adapter.final_norm->weight.clone();
  const Tensor P = orthonormal(D, k, 4);
  model.adapter.head.weight.set_data(tall);
  rotate_head(model.adapter, P);
  const Tensor want = tall.to(at::kDouble).mm(at::diag(alpha)).mm(P);
  const Tensor error = rotation_bound(tall * alpha, P.t());
  CHECK(violation(model.adapter.head.weight, want.to(at::kFloat),
                  tie_bound(want, error, at::kFloat)) == "");
  CHECK(model.adapter.head.weight.scalar_type() == at::kFloat);
  CHECK_FALSE(model.adapter.final_norm->weighted());
}

TEST_CASE("half-precision weights are rotated in float64 and rounded once") {
  TwoBranchModel model;
  Sublayer& s = model.adapter.sublayers[0];
  const Tensor P = orthonormal(D, k, 5);
  Tensor& W = s.branches[0].writer.weight;
  W.set_data(W.to(at::kBFloat16));
  const Tensor want = P.t().mm(W.to(at::kDouble)), error = rotation_bound(P.t(), W.t());
  rotate_writers(s, P);
  CHECK(W.scalar_type() == at::kBFloat16);
  CHECK(violation(W, want.to(at::kBFloat16), tie_bound(want, error, at::kBFloat16)) == "");
}

TEST_CASE("an undefined basis fuses and rotates nothing") {
  TwoBranchModel model;
  Sublayer& s = model.adapter.sublayers[0];
  const Tensor alpha = s.norm->weight.clone(), in = s.branches[0].readers[0].weight.clone();
  const Tensor out = s.branches[0].writer.weight.clone(), words = model.words->weight.clone();
  rotate_readers(s, Tensor());
  rotate_writers(s, Tensor());
  rotate_embeddings(model.adapter, Tensor());
  rotate_head(model.adapter, Tensor());
  CHECK(bit_difference(s.branches[0].readers[0].weight, in * alpha) == "");
  CHECK(bit_difference(s.branches[0].writer.weight, out) == "");
  CHECK(bit_difference(model.words->weight, words) == "");
  CHECK(model.adapter.final_norm->weight.eq(1).all().item<bool>());
}

TEST_CASE("bases that do not fit are refused by name, before anything is written") {
  TwoBranchModel model;
  Sublayer& s = model.adapter.sublayers[0];
  const Tensor narrow = orthonormal(D - 1, k, 1), single = orthonormal(D, k, 1).to(at::kFloat);
  CHECK_THROWS_NAMING(rotate_readers(s, narrow), ShapeError,
                      "block 0 in 0: want a basis (20, k), got (19, 13)");
  CHECK_THROWS_NAMING(rotate_readers(s, single), DtypeError, "float64");
  CHECK_THROWS_NAMING(rotate_writers(s, narrow), ShapeError, "block 0 out 0");
  CHECK_THROWS_NAMING(rotate_embeddings(model.adapter, narrow), ShapeError, "words");
  CHECK_THROWS_NAMING(rotate_head(model.adapter, narrow), ShapeError, "head");
  CHECK_THROWS_AS(rotate_writers(s, at::ones({D, D + 1}, at::kDouble)), ShapeError);

  // A second branch that does not fit leaves the first as it was.
  Tensor& reader = s.branches[1].readers[0].weight;
  reader.set_data(at::ones({3, D + 1}, at::kDouble));
  Tensor& writer = s.branches[1].writer.weight;
  writer.set_data(at::ones({D + 1, 3}, at::kDouble));
  const Tensor in = s.branches[0].readers[0].weight.clone(),
               out = s.branches[0].writer.weight.clone();
  CHECK_THROWS_AS(rotate_readers(s, orthonormal(D, k, 1)), ShapeError);
  CHECK_THROWS_AS(rotate_writers(s, orthonormal(D, k, 1)), ShapeError);
  CHECK(bit_difference(s.branches[0].readers[0].weight, in) == "");
  CHECK(bit_difference(s.branches[0].writer.weight, out) == "");
  CHECK(s.norm->weighted());
}

}  // namespace
}  // namespace slice
