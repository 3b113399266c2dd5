#include "libslice/model/linear.h"

#include <ATen/ATen.h>

#include <catch2/catch_all.hpp>

#include "libslice/model/detail/placeholder.h"
#include "tests/support/error_bounds.h"
#include "tests/support/matchers.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

using at::Tensor;
using namespace tests;

TEST_CASE("a linear layer multiplies by its transposed weight and adds its bias") {
  Linear linear(5, 3, true);
  linear->weight.set_data(gaussian({3, 5}, 1));
  linear->bias.set_data(gaussian({3}, 2));
  const Tensor x = gaussian({2, 4, 5}, 3), y = linear->forward(x);
  for (int64_t b = 0; b < 2; ++b) {
    for (int64_t t = 0; t < 4; ++t) {
      const Tensor want = (linear->weight * x[b][t]).sum(1) + linear->bias;
      const Tensor bound = product_bound(want, x[b][t], linear->weight, linear->bias);
      CHECK(violation(y[b][t], want, bound) == "");
    }
  }
}

TEST_CASE("a linear layer without bias registers a weight alone") {
  Linear linear(5, 3, false);
  CHECK(linear->named_parameters().keys() == std::vector<std::string>{"weight"});
  CHECK_FALSE(linear->bias.defined());
  CHECK_FALSE(linear->weight.requires_grad());
}

TEST_CASE("an embedding looks rows up") {
  Embedding embedding(4, 3);
  embedding->weight.set_data(gaussian({4, 3}, 1));
  const Tensor ids = at::tensor({3, 0, 3}, at::kLong).view({1, 3});
  CHECK(bit_difference(embedding->forward(ids)[0], embedding->weight.index_select(0, ids[0])) ==
        "");
}

TEST_CASE("layers hold no memory before they are loaded") {
  Linear linear(1 << 20, 1 << 20, true);
  Embedding embedding(1 << 20, 1 << 20);
  for (const Tensor& tensor : {linear->weight, linear->bias, embedding->weight}) {
    CHECK(tensor.storage().nbytes() <= sizeof(float));
    CHECK(detail::is_placeholder(tensor));
  }
  CHECK_FALSE(detail::is_placeholder(at::ones({2, 2})));
  CHECK_FALSE(
      detail::is_placeholder(at::ones({4, 2}).slice(0, 0, 4, 2)));  // a view of every other row
}

}  // namespace
}  // namespace slice
