#include "libslice/decode/packed_model.h"

#include <catch2/catch_all.hpp>
#include <vector>

#include "libslice/base/error.h"
#include "tests/support/matchers.h"
#include "tests/support/tiny_model.h"

namespace slice {

using namespace tests;

TEST_CASE("packed texts lie one after another, a beginning once") {
  const std::vector<int64_t> beginning = {5, 6, 7}, text = {8, 9}, word = {3};
  PackedTexts texts;
  CHECK(texts.tokens() == 0);
  texts.begin(beginning);
  CHECK(texts.add(text) == 3);
  CHECK(texts.add(word) == 5);
  texts.begin({});
  CHECK(texts.add(text) == 6);
  CHECK(texts.tokens() == 8);
  CHECK(texts.seen() == 3 + (3 + 2) + (3 + 1) + 2);
  CHECK_THROWS_NAMING(texts.add({}), ArgumentError, "at least one token");
}

TEST_CASE("there is no packed model on the CPU") {
  const Model model = random_model(tiny_config());
  CHECK_FALSE(PackedModel::runs(model));
  CHECK_THROWS_AS(PackedModel(model, 8), ArgumentError);
}

}  // namespace slice
