#include "libslice/shortcut.h"

#include <ATen/ATen.h>

#include <catch2/catch_all.hpp>

#include "libslice/error.h"
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
  CHECK(violation(shortcut->forward(x, r), want, product_bound(want, x, rounded)) == "");
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

TEST_CASE("a shortcut refuses what is no matrix") {
  Shortcut shortcut;
  CHECK_THROWS_NAMING(shortcut->set_dense(at::ones({4}), at::kFloat), ShapeError, "(4)");
  CHECK(shortcut->identity());
}

}  // namespace
}  // namespace slice
