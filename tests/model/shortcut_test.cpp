#include "libslice/model/shortcut.h"

#include <ATen/ATen.h>

#include <catch2/catch_all.hpp>

#include "libslice/base/error.h"
#include "tests/support/error_bounds.h"
#include "tests/support/matchers.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

using at::Tensor;
using namespace tests;

TEST_CASE("a new shortcut is the identity, without parameters") {
  Shortcut shortcut;
  const Tensor x = gaussian({2, 3}, 1), r = gaussian({2, 3}, 2);
  CHECK(shortcut->identity());
  CHECK(shortcut->named_parameters().is_empty());
  CHECK(bit_difference(shortcut->forward(x, r), x + r) == "");
}

TEST_CASE("a dense shortcut rotates the stream, in the dtype asked for") {
  Shortcut shortcut;
  const Tensor W = gaussian({4, 6}, 3), x = gaussian({2, 3, 6}, 1, at::kFloat),
               r = gaussian({2, 3, 4}, 2, at::kFloat);
  shortcut->set_dense(W, at::kFloat);
  CHECK_FALSE(shortcut->identity());
  CHECK(shortcut->weight.scalar_type() == at::kFloat);
  const Tensor rounded = W.to(at::kFloat);
  const Tensor want = at::matmul(x.to(at::kDouble), rounded.to(at::kDouble).t()) + r;
  CHECK(violation(shortcut->forward(x, r), want, product_bound(want, x, rounded, r)) == "");
}

TEST_CASE("setting a shortcut again keeps its registered name") {
  Shortcut shortcut;
  shortcut->set_dense(at::ones({4, 6}), at::kFloat);
  shortcut->set_dense(gaussian({5, 6}, 1), at::kDouble);
  const auto parameters = shortcut->named_parameters();
  REQUIRE(parameters.keys() == std::vector<std::string>{"weight"});
  CHECK(bit_difference(parameters["weight"], shortcut->weight) == "");
  CHECK(parameters["weight"].size(0) == 5);
}

TEST_CASE("a shortcut about to be loaded has its shape and no memory") {
  Shortcut shortcut(ShortcutForm::kDense, 1 << 16, 1 << 17);
  CHECK(shortcut->weight.sizes() == at::IntArrayRef({1 << 17, 1 << 16}));
  CHECK(shortcut->weight.storage().nbytes() <= sizeof(float));
}

TEST_CASE("every form about to be loaded has its shape and no memory") {
  struct Row {
    ShortcutForm form;
    int64_t in, out;
    std::vector<std::pair<std::string, std::vector<int64_t>>> parameters;
  };
  const int64_t large = 1 << 16;
  for (const Row& row :
       {Row{ShortcutForm::kNone, large, large, {}},
        Row{ShortcutForm::kDense, large, 2 * large, {{"weight", {2 * large, large}}}},
        Row{ShortcutForm::kDiagonal, large, 2 * large, {{"weight", {large}}}},
        Row{ShortcutForm::kLowRank,
            large,
            2 * large,
            {{"down", {7, large}}, {"up", {2 * large, 7}}}}}) {
    INFO(shortcut_name(row.form));
    Shortcut shortcut(row.form, row.in, row.out, 7);
    CHECK(shortcut->identity() == row.parameters.empty());
    const auto parameters = shortcut->named_parameters();
    REQUIRE(parameters.size() == row.parameters.size());
    for (size_t i = 0; i < row.parameters.size(); ++i) {
      CHECK(parameters[i].key() == row.parameters[i].first);
      CHECK(parameters[i].value().sizes() == row.parameters[i].second);
      CHECK(parameters[i].value().storage().nbytes() <= sizeof(float));
      CHECK_FALSE(parameters[i].value().requires_grad());
    }
  }
}

TEST_CASE("a narrower stream than what is added to it is padded with zeros") {
  Shortcut shortcut;
  const Tensor x = gaussian({2, 3, 4}, 1), r = gaussian({2, 3, 6}, 2);
  const Tensor wide = at::cat({x, at::zeros({2, 3, 2}, at::kDouble)}, -1);
  CHECK(bit_difference(shortcut->forward(x, r), wide + r) == "");
  const Tensor d = gaussian({4}, 3);
  shortcut->set_diagonal(d, at::kDouble);
  CHECK(bit_difference(shortcut->forward(x, r),
                       at::cat({x * d, at::zeros({2, 3, 2}, at::kDouble)}, -1) + r) == "");
  const Tensor down = gaussian({2, 4}, 4), up = gaussian({6, 2}, 5);
  shortcut->set_low_rank(down, up, at::kDouble);
  const Tensor want = wide + at::matmul(at::matmul(x, down.t()), up.t()) + r;
  const Tensor size = at::matmul(product_magnitudes(x, down), up.abs().t()) + wide.abs() + r.abs();
  CHECK(violation(shortcut->forward(x, r), want, sum_bound(size, 4 + 2 + 2, at::kDouble)) == "");
}

TEST_CASE("a diagonal shortcut scales the stream, in the dtype asked for") {
  Shortcut shortcut;
  const Tensor d = gaussian({5}, 3), x = gaussian({2, 3, 5}, 1, at::kFloat),
               r = gaussian({2, 3, 5}, 2, at::kFloat);
  shortcut->set_diagonal(d, at::kFloat);
  CHECK_FALSE(shortcut->identity());
  CHECK(shortcut->named_parameters().keys() == std::vector<std::string>{"weight"});
  CHECK(shortcut->weight.scalar_type() == at::kFloat);
  CHECK(bit_difference(shortcut->forward(x, r), x * d.to(at::kFloat) + r) == "");
}

TEST_CASE("a low-rank shortcut adds its product to the identity") {
  Shortcut shortcut;
  const Tensor down = gaussian({2, 5}, 3), up = gaussian({5, 2}, 4),
               x = gaussian({2, 3, 5}, 1, at::kFloat), r = gaussian({2, 3, 5}, 2, at::kFloat);
  shortcut->set_low_rank(down, up, at::kFloat);
  CHECK_FALSE(shortcut->identity());
  CHECK(shortcut->named_parameters().keys() == std::vector<std::string>{"down", "up"});
  CHECK(shortcut->up.scalar_type() == at::kFloat);
  const Tensor S =
      at::eye(5, at::kDouble) +
      down.to(at::kFloat).to(at::kDouble).t().mm(up.to(at::kFloat).to(at::kDouble).t());  // (5, 5)
  const Tensor want = at::matmul(x.to(at::kDouble), S) + r.to(at::kDouble);
  // A product of five terms, one of two, and two sums.
  const Tensor size = at::matmul(product_magnitudes(x, down), up.abs().t()) + x.abs() + r.abs();
  CHECK(violation(shortcut->forward(x, r), want, sum_bound(size, 5 + 2 + 2, at::kFloat)) == "");
}

TEST_CASE("a shortcut of a new form keeps nothing of the previous form") {
  const auto names = [](const Shortcut& s) { return s->named_parameters().keys(); };
  using Names = std::vector<std::string>;
  const Tensor W = gaussian({5, 5}, 1), d = gaussian({5}, 2), down = gaussian({2, 5}, 3),
               up = gaussian({5, 2}, 4), x = gaussian({3, 5}, 5), r = gaussian({3, 5}, 6);
  Shortcut shortcut;
  shortcut->set_low_rank(down, up, at::kDouble);
  shortcut->set_dense(W, at::kDouble);
  CHECK(names(shortcut) == Names{"weight"});
  CHECK_FALSE(shortcut->up.defined());
  const Tensor want = x.mm(W.t()) + r;
  CHECK(violation(shortcut->forward(x, r), want, product_bound(want, x, W, r)) == "");
  shortcut->set_diagonal(d, at::kDouble);
  CHECK(names(shortcut) == Names{"weight"});
  CHECK(bit_difference(shortcut->forward(x, r), x * d + r) == "");
  shortcut->set_low_rank(down, up, at::kDouble);
  CHECK(names(shortcut) == Names{"down", "up"});
  CHECK_FALSE(shortcut->weight.defined());
  shortcut->set_identity();
  CHECK(shortcut->identity());
  CHECK(names(shortcut).empty());
  CHECK(bit_difference(shortcut->forward(x, r), x + r) == "");
  shortcut->set_identity();  // twice is as good as once
  shortcut->set_diagonal(d, at::kDouble);
  CHECK(names(shortcut) == Names{"weight"});
}

TEST_CASE("a shortcut refuses tensors that are not matrices") {
  Shortcut shortcut;
  CHECK_THROWS_NAMING(shortcut->set_dense(at::ones({4}), at::kFloat), ShapeError, "(4)");
  CHECK_THROWS_NAMING(shortcut->set_diagonal(at::ones({4, 4}), at::kFloat), ShapeError, "(4, 4)");
  CHECK_THROWS_NAMING(shortcut->set_low_rank(at::ones({2, 4}), at::ones({4, 3}), at::kFloat),
                      ShapeError, "(2, 4) float32 and (4, 3)");
  CHECK_THROWS_AS(shortcut->set_low_rank(at::ones({4}), at::ones({4, 1}), at::kFloat), ShapeError);
  CHECK(shortcut->identity());
}

}  // namespace
}  // namespace slice
