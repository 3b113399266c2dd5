#include "libslice/evaluate/self_windows.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <catch2/catch_all.hpp>
#include <vector>

#include "libslice/base/error.h"
#include "libslice/checkpoint/model.h"
#include "libslice/decode/generator.h"
#include "libslice/evaluate/perplexity.h"
#include "tests/support/matchers.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

using namespace tests;
using at::Tensor;

}  // namespace

TEST_CASE("a model's own windows are sampled texts without the least likely one") {
  const ModelConfig config = tiny_config();
  const Model model = random_model(config);
  constexpr int64_t kContext = 40, kBegin = 3;
  const Tensor windows = self_windows(model, 4, kContext, kBegin, 7);
  REQUIRE(windows.sizes() == at::IntArrayRef({4, kContext}));
  CHECK(windows.scalar_type() == at::kLong);
  CHECK((windows.select(1, 0) == kBegin).all().item<bool>());

  Generator generator(model, kContext, 5);  // an eighth more, at least one
  const Tensor begin = at::full({5, 1}, kBegin, at::kLong);
  generator.feed(begin);
  const Tensor all =
      at::cat({begin, generator.continue_sampled(kContext - 1, {.temperature = 1}, 7)}, 1);
  std::vector<double> losses;
  for (int64_t i = 0; i < 5; ++i) losses.push_back(perplexity(model, all.slice(0, i, i + 1)));
  const auto worst = std::ranges::max_element(losses) - losses.begin();
  CHECK(windows.equal(at::cat({all.slice(0, 0, worst), all.slice(0, worst + 1)})));
}

TEST_CASE("a model's own windows repeat with their seed and are told of while they are written") {
  const ModelConfig config = tiny_config();
  const Model model = random_model(config);
  int64_t calls = 0, last = 0;
  const Tensor first = self_windows(model, 3, 50, 0, 1, [&](const Progress& progress) {
    ++calls;
    CHECK(progress.step >= last);
    CHECK(progress.steps == 4);
    last = progress.step;
  });
  CHECK(calls > 1);
  CHECK(last == 4);
  CHECK(first.equal(self_windows(model, 3, 50, 0, 1)));
  CHECK_FALSE(first.equal(self_windows(model, 3, 50, 0, 2)));
}

TEST_CASE("a model's own windows are refused where it cannot write them") {
  ModelConfig config = tiny_config();
  const Model model = random_model(config);
  CHECK_THROWS_NAMING(self_windows(model, 0, 8, 0, 0), ArgumentError, "at least 1 window");
  CHECK_THROWS_NAMING(self_windows(model, 1, 1, 0, 0), ArgumentError, "at least 1 window");
  CHECK_THROWS_AS(self_windows(model, 1, 8, config.vocabulary_size, 0), ArgumentError);
}

}  // namespace slice
