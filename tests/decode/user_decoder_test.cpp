#include "libslice/decode/user_decoder.h"

#include <ATen/ATen.h>

#include <catch2/catch_all.hpp>

#include "libslice/base/error.h"
#include "libslice/decode/batch.h"
#include "libslice/decode/engine.h"
#include "libslice/model/decoder.h"
#include "tests/support/engine_models.h"
#include "tests/support/matchers.h"

namespace slice {
namespace {

using namespace tests;
using Ids = std::vector<int64_t>;

/// A model of libslice, described as if it were a user's.
UserDecoder described(const Model& model) {
  return {.adapter = model.decoder().adapter(), .positions = 60};
}

TEST_CASE("a user's decoder in a batch writes what the same decoder with a cache does") {
  for (const ModelConfig& config : {tiny_config(), tiny_families()[2]}) {
    const Model model = random_model(config);
    Batch batch(described(model), 2, 50);
    const GenerateOptions greedy = {.max_tokens = 12},
                          sampled = {.max_tokens = 9, .sampling = {.temperature = 1}, .seed = 3};
    const Ids a = {1, 17, 5}, b = {4, 2, 9, 9, 30};
    const int64_t first = *batch.add(a, greedy), second = *batch.begin(b, sampled);
    CHECK(batch.feed(second, 2) == 3);
    Ids text_a, text_b;
    for (const BatchOutput& output : batch.step(2)) text_a = output.tokens;
    at::Tensor seen;
    CHECK(batch.feed(second, 3, [&](const at::Tensor& logits) { seen = logits.clone(); }) == 0);
    CHECK(seen.sizes() == at::IntArrayRef({3, config.vocabulary_size}));
    CHECK(seen[-1].equal(batch.logits(second)));
    while (batch.running() > 0)
      for (const BatchOutput& output : batch.step(3)) {
        Ids& text = output.id == first ? text_a : text_b;
        text.insert(text.end(), output.tokens.begin(), output.tokens.end());
      }
    CHECK(text_a == generate(model, a, greedy));
    CHECK(text_b == generate(model, b, sampled));
  }
}

TEST_CASE("a user's decoder refuses what any model does") {
  const Model model = random_model(tiny_config());
  UserDecoder decoder = described(model);
  Batch batch(decoder, 1, 100);
  CHECK_THROWS_NAMING(batch.add({53}), ArgumentError, "[0, 53)");
  CHECK_THROWS_NAMING(batch.add(Ids(60, 1)), ArgumentError, "among 60 positions");
  CHECK_THROWS_AS(Batch(decoder, 0, 10), ArgumentError);
  decoder.positions = 0;
  CHECK_THROWS_AS(Batch(decoder, 1, 10), ArgumentError);
}

TEST_CASE("an engine runs a user's decoder, with every option of a request") {
  const auto model = std::make_shared<const Model>(random_model(tiny_config()));
  auto decoder = std::make_shared<UserDecoder>(described(*model));
  EngineOptions options;
  options.models = {{.name = "own",
                     .decoder = decoder,
                     .tokenizer = std::make_shared<LetterTokenizer>(53),
                     .slots = 3,
                     .capacity = 60}};
  CHECK(engine_bytes(options).weights > 0);
  CHECK(engine_bytes(options).cache == 0);
  Engine engine(options);
  engine.warm_up();
  Request request = some_request(*model, 4);
  request.options.max_tokens = 15;
  request.texts = 4;
  request.logprobs = request.prompt_logprobs = 1;
  const RequestResult result = engine.submit(request).wait();
  for (uint64_t i = 0; i < 4; ++i) {
    CHECK(result.texts[i].ids == generated(*model, request, i));
    CHECK(result.texts[i].logprobs.size() == 15);
  }
  CHECK(result.texts[0].prompt_logprobs.size() == request.prompt.size() - 1);
  CHECK(result.usage.reused_tokens == 0);
}

}  // namespace
}  // namespace slice
