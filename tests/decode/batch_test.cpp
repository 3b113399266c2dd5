#include "libslice/decode/batch.h"

#include <ATen/ATen.h>

#include <catch2/catch_all.hpp>
#include <cmath>
#include <limits>
#include <map>
#include <optional>

#include "libslice/base/error.h"
#include "tests/support/gpu_model.h"
#include "tests/support/matchers.h"
#include "tests/support/require_gpu.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

using at::Tensor;
using namespace tests;
using Ids = std::vector<int64_t>;

struct Request {
  Ids prompt;
  GenerateOptions options;
};

/// Prompts of `shortest` and more tokens, greedy and sampled in turn, of very different lengths.
std::vector<Request> requests(const ModelConfig& config, int64_t count, int64_t shortest) {
  const Tensor tokens = random_tokens(config, count, count + shortest);
  std::vector<Request> all;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t* row = tokens[i].const_data_ptr<int64_t>();
    GenerateOptions options;
    options.max_tokens = 1 + (7 * i) % 23;
    if (i % 3 != 0)
      options.sampling = {.temperature = 0.5 + 0.3 * static_cast<double>(i % 5),
                          .top_p = i % 2 == 0 ? 1 : 0.9};
    options.seed = static_cast<uint64_t>(i / 2);
    all.push_back({Ids(row, row + shortest + i), options});
  }
  return all;
}

/// Every request through one batch, as slots come free, by steps of 1, 2, 3, 1, … tokens.
std::vector<Ids> run(Batch& batch, const std::vector<Request>& all) {
  std::vector<Ids> texts(all.size());
  std::map<int64_t, size_t> place;  // of an id
  size_t next = 0;
  int64_t steps = 0;
  while (next < all.size() || batch.running() > 0) {
    while (next < all.size()) {
      const auto id = batch.add(all[next].prompt, all[next].options);
      if (!id) break;
      place[*id] = next++;
    }
    CHECK((next == all.size() || batch.running() == batch.slots()));
    for (const BatchOutput& output : batch.step(1 + steps++ % 3)) {
      Ids& text = texts.at(place.at(output.id));
      text.insert(text.end(), output.tokens.begin(), output.tokens.end());
      if (output.ending != Ending::kNone) {
        CHECK(output.ending == Ending::kMaxTokens);
        place.erase(output.id);
      }
    }
  }
  CHECK(place.empty());
  return texts;
}

void check_like_generate(const Model& model, int64_t slots, int64_t count, int64_t shortest = 1) {
  const auto all = requests(model.config(), count, shortest);
  Batch batch(model, slots, shortest + count + 25);
  const std::vector<Ids> texts = run(batch, all);
  for (size_t i = 0; i < all.size(); ++i) {
    INFO("text " << i << " in " << slots << " slots");
    CHECK(texts[i] == generate(model, all[i].prompt, all[i].options));
  }
}

TEST_CASE("texts that come and go are those of generate, one by one") {
  const Model model = random_model(tiny_config(), 1, at::kFloat);
  for (const int64_t slots : {1, 2, 5}) check_like_generate(model, slots, 9);
  for (const ModelConfig& config : tiny_families())
    check_like_generate(random_model(config, 1, at::kFloat), 3, 7);
}

/// What is read and changed of the logits of texts of a batch, one token at a time.
void check_logits(const Model& model) {
  const auto all = requests(model.config(), 4, 3);
  GenerateOptions greedy;
  greedy.max_tokens = 12;
  Batch batch(model, 3, 30);
  const int64_t plain = *batch.add(all[0].prompt, greedy),
                likely = *batch.add(all[1].prompt, greedy),
                biased = *batch.add(all[2].prompt, greedy);
  std::map<int64_t, Ids> texts;
  for (int64_t i = 0; i < greedy.max_tokens; ++i) {
    // The likeliest token is the one that comes, and one that is made the likeliest comes.
    const int64_t next = batch.logits(likely).argmax().item<int64_t>();
    batch.logits(biased)[i + 2].fill_(1000);
    for (const BatchOutput& output : batch.step())
      for (const int64_t id : output.tokens) texts[output.id].push_back(id);
    CHECK(texts[likely].back() == next);
    CHECK(texts[biased].back() == i + 2);
  }
  CHECK(texts[plain] == generate(model, all[0].prompt, greedy));
  CHECK(texts[likely] == generate(model, all[1].prompt, greedy));
  CHECK_THROWS_NAMING(batch.logits(plain), ArgumentError, "no text");
  // A token that must not come does not.
  const int64_t limited = *batch.add(all[3].prompt, greedy);
  const Tensor row = batch.logits(limited);
  const int64_t first = row.argmax().item<int64_t>();
  row[first].fill_(std::numeric_limits<float>::lowest());
  const int64_t second = row.argmax().item<int64_t>();
  CHECK(second != first);
  CHECK(batch.step()[0].tokens == Ids{second});
}

TEST_CASE("logits of a batch's texts are read and changed before their next token") {
  check_logits(random_model(tiny_config(), 1, at::kFloat));
}

TEST_CASE("a full batch takes no text until one ends or is removed") {
  const Model model = random_model(tiny_config());
  Batch batch(model, 2, 20);
  CHECK(batch.slots() == 2);
  CHECK(batch.step(4).empty());
  CHECK(batch.add({1}, {.max_tokens = 3}) == 0);
  CHECK(batch.add({1, 2}, {.max_tokens = 9}) == 1);
  CHECK_FALSE(batch.add({1, 2, 3}).has_value());
  CHECK(batch.running() == 2);
  CHECK(batch.step(0).empty());
  const auto outputs = batch.step(4);
  REQUIRE(outputs.size() == 2);
  CHECK(outputs[0].id == 0);
  CHECK(outputs[0].tokens.size() == 3);
  CHECK(outputs[0].ending == Ending::kMaxTokens);
  CHECK(outputs[1].tokens.size() == 4);
  CHECK(outputs[1].ending == Ending::kNone);
  CHECK(batch.running() == 1);
  CHECK(batch.add({5}) == 2);
  batch.remove(1);
  CHECK(batch.add({6}) == 3);
  CHECK_FALSE(batch.add({7}).has_value());
  CHECK_THROWS_NAMING(batch.remove(0), ArgumentError, "no text 0 runs");
  CHECK_THROWS_AS(batch.remove(1), ArgumentError);
  CHECK_THROWS_AS(batch.remove(4), ArgumentError);
  Batch moved = std::move(batch);
  CHECK(moved.step().size() == 2);
}

TEST_CASE("a batch refuses bad arguments and stays as it was") {
  const Model model = random_model(tiny_config());
  CHECK_THROWS_AS(Batch(model, 0, 8), ArgumentError);
  CHECK_THROWS_AS(Batch(model, 1, 0), ArgumentError);
  Batch batch(model, 2, 8);
  CHECK_THROWS_NAMING(batch.add({}), ArgumentError, "prompt is empty");
  CHECK_THROWS_NAMING(batch.add(Ids(8, 1)), ArgumentError, "a prompt of 8 leaves no room");
  CHECK_THROWS_NAMING(batch.add({1, 53}), ArgumentError, "[0, 53)");
  CHECK_THROWS_NAMING(batch.add({1}, {.max_tokens = 0}), ArgumentError, "max_tokens");
  CHECK_THROWS_NAMING(batch.add({1}, {.sampling = {.temperature = -1}}), ArgumentError,
                      "temperature");
  CHECK_THROWS_NAMING(batch.add({1}, {.sampling = {.top_p = 0}}), ArgumentError, "top-p");
  CHECK_THROWS_AS(batch.step(-1), ArgumentError);
  CHECK(batch.running() == 0);
  CHECK(batch.add({1, 2}, {.max_tokens = 5}) == 0);
  CHECK(batch.step(5)[0].tokens == generate(model, {1, 2}, {.max_tokens = 5}));
}

TEST_CASE("a text ends where its slot does, or the model's positions") {
  const ModelConfig opt = tiny_families()[2];
  const Model dense = random_model(tiny_config()), learned = random_model(opt);
  const auto ended = [](const Model& model, const Ids& prompt, int64_t capacity) {
    Batch batch(model, 2, capacity);
    REQUIRE(batch.add(prompt).has_value());
    const auto outputs = batch.step(500);
    REQUIRE(outputs.size() == 1);
    CHECK(outputs[0].ending == Ending::kFull);
    CHECK(batch.running() == 0);
    return outputs[0].tokens;
  };
  CHECK(ended(dense, {1, 17, 5}, 9) == generate(dense, {1, 17, 5}, {.max_tokens = 6}));
  REQUIRE(learned.decoder().positions() == 128);
  // Past the table's end, with the 128 tokens that GenerateOptions asks for: the same text.
  CHECK(ended(learned, Ids(120, 3), 400) == generate(learned, Ids(120, 3)));
  CHECK(ended(learned, Ids(120, 3), 400) == generate(learned, Ids(120, 3), {.max_tokens = 8}));
  CHECK(ended(learned, Ids(127, 3), 400).size() == 1);
  Batch batch(learned, 1, 400);
  CHECK_THROWS_NAMING(batch.add(Ids(128, 3)), ArgumentError, "no room for a token among 128");
}

TEST_CASE("a text ends at its stop tokens, its neighbours continue") {
  const Model model = random_model(tiny_config());
  const Ids text = generate(model, {1, 17, 5}, {.max_tokens = 12});
  const auto first = std::find(text.begin(), text.end(), text[5]);
  Batch batch(model, 3, 40);
  batch.add({1, 17, 5}, {.max_tokens = 12, .stop_tokens = {52, text[5]}});
  batch.add({1, 17, 5}, {.max_tokens = 12});
  const auto outputs = batch.step(12);
  REQUIRE(outputs.size() == 2);
  CHECK(outputs[0].tokens == Ids(text.begin(), first));
  CHECK(outputs[0].ending == Ending::kStop);
  CHECK(outputs[1].tokens == text);
  CHECK(outputs[1].ending == Ending::kMaxTokens);
}

void check_broken(const Model& model) {
  for (auto& parameter : model.decoder().named_parameters())
    if (parameter.key() == "model.embed_tokens.weight") parameter.value().data()[17].fill_(NAN);
  const GenerateOptions options = {.max_tokens = 6, .stop_tokens = {17}};
  Batch batch(model, 2, 20);
  batch.add({1, 17}, options);
  batch.add({1, 5}, options);
  const auto outputs = batch.step(6);
  REQUIRE(outputs.size() == 2);
  CHECK(outputs[0].ending == Ending::kBroken);
  CHECK(outputs[0].tokens.empty());
  CHECK(outputs[1].tokens == generate(model, {1, 5}, options));
  // Nothing of it is left in the slot.
  CHECK(batch.add({1, 5}, options) == 2);
  CHECK(batch.step(6).at(0).tokens == outputs[1].tokens);
}

TEST_CASE("a NaN ends the text that has it, and no other") {
  check_broken(random_model(tiny_config()));
}

TEST_CASE("a batch outlives the model it was made from") {
  std::optional<Model> model = random_model(tiny_config());
  const Ids want = generate(*model, {1, 2, 3}, {.max_tokens = 4});
  Batch batch(*model, 1, 7);
  model.reset();
  batch.add({1, 2, 3}, {.max_tokens = 4});
  CHECK(batch.step(4)[0].tokens == want);
}

TEST_CASE("on a GPU texts that come and go are those of generate, by graphs and by modules",
          "[cuda]") {
  require_gpu();
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble}) {  // float64 has no graph
    INFO(c10::toString(dtype));
    const Model model = on_gpu(tiny_config(), dtype);
    for (const int64_t slots : {1, 3, 8, 12}) check_like_generate(model, slots, 16);
    for (const ModelConfig& config : tiny_families())
      check_like_generate(on_gpu(config, dtype), 3, 7);
  }
}

TEST_CASE("on a GPU logits of a batch's texts are read and changed before their next token",
          "[cuda]") {
  require_gpu();
  check_logits(on_gpu(tiny_config(), at::kFloat));
}

TEST_CASE("on a GPU a batch runs half precision, too", "[cuda]") {
  require_gpu();
  // A prompt of one token is a step of generate's graph and a prefill here: other roundings.
  for (const at::ScalarType dtype : {at::kHalf, at::kBFloat16})
    check_like_generate(on_gpu(tiny_config(), dtype), 5, 9, /*shortest=*/2);
}

TEST_CASE("on a GPU a NaN ends the text that has it, and no other", "[cuda]") {
  require_gpu();
  check_broken(on_gpu(tiny_config(), at::kFloat));
}

TEST_CASE("on a GPU a text ends at its slot's end and at its stop tokens", "[cuda]") {
  require_gpu();
  const Model model = on_gpu(tiny_config(), at::kFloat);
  const Ids text = generate(model, {1, 17, 5}, {.max_tokens = 12});
  const auto first = std::find(text.begin(), text.end(), text[5]);
  Batch batch(model, 4, 11);
  batch.add({1, 17, 5}, {.stop_tokens = {text[5]}});
  batch.add({1, 17, 5});
  const auto outputs = batch.step(20);
  REQUIRE(outputs.size() == 2);
  CHECK(outputs[0].tokens == Ids(text.begin(), first));
  CHECK(outputs[0].ending == Ending::kStop);
  CHECK(outputs[1].tokens == Ids(text.begin(), text.begin() + 8));
  CHECK(outputs[1].ending == Ending::kFull);
}

}  // namespace
}  // namespace slice
