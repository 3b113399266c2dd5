#include "libslice/decode/group_decoder.h"

#include <algorithm>
#include <catch2/catch_all.hpp>
#include <iterator>
#include <string>
#include <vector>

#include "libslice/base/error.h"
#include "libslice/checkpoint/checkpoint.h"
#include "libslice/decode/generator.h"
#include "libslice/decode/tensor_parallel.h"
#include "tests/support/group_decoder.h"
#include "tests/support/ranks.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

using namespace tests;
using Ids = std::vector<int64_t>;

/// What each of two ranks writes, as a pipeline or with parts of every layer.
std::vector<Ids> written(const std::string& path, bool pipeline, const Ids& prompt,
                         const GenerateOptions& options, int64_t capacity, int64_t shown = -1) {
  std::vector<Ids> ids(2);
  const auto thrown = run_ranks(2, [&](const ProcessGroup& group) {
    const auto decoder = group_decoder(path, pipeline, group, {.capacity = capacity});
    int64_t count = 0;
    ids[group.rank()] =
        generate(*decoder, prompt, options, [&](int64_t) { return ++count != shown; });
  });
  REQUIRE(thrown == std::vector<std::string>{"", ""});
  return ids;
}

TEST_CASE("ranks generate what a model generates") {
  const TemporaryDirectory scratch;
  const std::string path = (scratch.path() / "model").string();
  save_model(random_model(tiny_config()), path, {.dtype = at::kFloat});
  const Model model = load_model(path);
  const Ids prompt = {3, 1, 4, 1, 5};
  GenerateOptions greedy{.max_tokens = 12}, sampled = greedy;
  sampled.sampling = {.temperature = 0.9, .top_p = 0.95};
  sampled.seed = 5;
  GenerateOptions stopped = sampled;
  stopped.stop_tokens = {generate(model, prompt, sampled).at(7)};
  for (const bool pipeline : {false, true}) {
    for (const GenerateOptions& options : {greedy, sampled, stopped}) {
      const Ids want = generate(model, prompt, options);
      CHECK(written(path, pipeline, prompt, options, 17) == std::vector<Ids>{want, want});
      const Ids first(want.begin(), want.begin() + std::min<int64_t>(3, std::ssize(want)));
      CHECK(written(path, pipeline, prompt, options, 17, 3) == std::vector<Ids>{first, first});
      CHECK(written(path, pipeline, prompt, options, 8) == std::vector<Ids>{first, first});
    }
    CHECK(written(path, pipeline, prompt, {.max_tokens = 0}, 8) == std::vector<Ids>(2));
  }
}

TEST_CASE("ranks refuse what a model refuses") {
  const TemporaryDirectory scratch;
  const std::string path = (scratch.path() / "model").string();
  save_model(random_model(tiny_config()), path, {.dtype = at::kFloat});
  TensorParallel decoder(*open_checkpoint(path), {}, {.capacity = 8});
  CHECK(decoder.capacity() == 8);
  CHECK_THROWS_AS(generate(decoder, {}, GenerateOptions{}), ArgumentError);
  CHECK_THROWS_AS(generate(decoder, {1}, GenerateOptions{.max_tokens = -1}), ArgumentError);
  CHECK_THROWS_AS(generate(decoder, {1}, GenerateOptions{.sampling = {.temperature = -1}}),
                  ArgumentError);
  CHECK_THROWS_AS(generate(decoder, Ids(9, 1), GenerateOptions{}), ArgumentError);
  const at::Tensor ids = at::tensor({1, 2, 3}, at::kLong);
  CHECK_THROWS_AS(decoder.score(ids, 0, at::tensor({2, 3, 1, 1}, at::kLong)), Error);
  CHECK_THROWS_AS(decoder.score(ids, 2, at::tensor({2, 3}, at::kLong)), Error);
  CHECK_THROWS_AS(decoder.score(ids.unsqueeze(0), 0, ids), Error);
  CHECK_THROWS_AS(decoder.score(ids, 0, at::tensor({2, 3, -1}, at::kLong)), ArgumentError);
  CHECK_THROWS_AS(decoder.score(ids, 0, at::tensor({2, 3, 1000}, at::kLong)), ArgumentError);
  CHECK(decoder.length() == 0);
}

}  // namespace
}  // namespace slice
