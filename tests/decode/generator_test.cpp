#include "libslice/decode/generator.h"

#include <ATen/ATen.h>

#include <catch2/catch_all.hpp>
#include <optional>

#include "libslice/base/error.h"
#include "libslice/decode/detail/decode_weights.h"
#include "libslice/slicing/slice_model.h"
#include "tests/support/error_bounds.h"
#include "tests/support/matchers.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

using at::Tensor;
using namespace tests;

/// The most likely tokens by recomputing the whole text for each, no cache.
std::vector<int64_t> greedy_reference(const Model& model, std::vector<int64_t> ids, int64_t count) {
  const size_t prompt = ids.size();
  for (int64_t i = 0; i < count; ++i) {
    const Tensor logits = model.decoder().forward(at::tensor(ids, at::kLong).unsqueeze(0));
    ids.push_back(logits[0][-1].argmax().item<int64_t>());
  }
  return {ids.begin() + static_cast<std::ptrdiff_t>(prompt), ids.end()};
}

TEST_CASE("logits of a text fed in pieces equal those of the text fed whole") {
  const ModelConfig config = tiny_config();
  const Model model = random_model(config);
  const Tensor tokens = random_tokens(config, 3, 14), whole = model.decoder().forward(tokens);
  Generator generator(model, 14, 3);
  int64_t begin = 0;
  for (const int64_t T : {6, 1, 2, 4, 1}) {
    const Tensor logits = generator.feed(tokens.slice(1, begin, begin + T));  // (B, V)
    begin += T;
    CHECK(relative_difference(logits, whole.select(1, begin - 1)) <
          network_allowance(config, at::kDouble));
    CHECK(generator.length() == begin);
  }
}

TEST_CASE("a truncated generator continues as if the rest had never been fed") {
  const ModelConfig config = tiny_config();
  const Model model = random_model(config);
  const Tensor tokens = random_tokens(config, 1, 12), other = random_tokens(config, 1, 12, 9);
  Generator generator(model, 12);
  generator.feed(tokens.slice(1, 0, 8));
  generator.feed(other.slice(1, 0, 4));
  generator.truncate(8);
  CHECK(generator.length() == 8);
  const Tensor logits = generator.feed(tokens.slice(1, 8));
  CHECK(relative_difference(logits, model.decoder().forward(tokens).select(1, 11)) <
        network_allowance(config, at::kDouble));
  generator.truncate(0);
  CHECK(relative_difference(generator.feed(other), model.decoder().forward(other).select(1, 11)) <
        network_allowance(config, at::kDouble));
}

TEST_CASE("a generator refuses what does not fit and stays as it was") {
  const ModelConfig config = tiny_config();
  const Model model = random_model(config);
  CHECK_THROWS_AS(Generator(model, 0), ArgumentError);
  CHECK_THROWS_AS(Generator(model, 4, 0), ArgumentError);
  Generator generator(model, 6);
  const Tensor tokens = random_tokens(config, 1, 6);
  generator.feed(tokens.slice(1, 0, 4));
  CHECK_THROWS_NAMING(generator.feed(tokens.slice(1, 0, 3)), ArgumentError,
                      "7 positions do not fit into 6");
  CHECK_THROWS_NAMING(generator.feed(random_tokens(config, 2, 1)), ShapeError, "(1, T)");
  CHECK_THROWS_AS(generator.feed(tokens.slice(1, 0, 0)), ShapeError);
  CHECK_THROWS_AS(generator.feed(tokens[0]), ShapeError);
  CHECK_THROWS_NAMING(generator.feed(at::full({1, 1}, 53, at::kLong)), ArgumentError, "[0, 53)");
  CHECK_THROWS_AS(generator.truncate(5), ArgumentError);
  CHECK_THROWS_AS(generator.truncate(-1), ArgumentError);
  CHECK(generator.length() == 4);
  CHECK(relative_difference(generator.feed(tokens.slice(1, 4)),
                            model.decoder().forward(tokens).select(1, 5)) <
        network_allowance(config, at::kDouble));
}

TEST_CASE("a generator outlives the model it was made from") {
  const ModelConfig config = tiny_config();
  const Tensor tokens = random_tokens(config, 1, 6);
  std::optional<Model> model = random_model(config);
  const Tensor want = model->decoder().forward(tokens).select(1, 5);
  Generator generator(*model, 6);
  model.reset();
  Generator moved = std::move(generator);
  CHECK(relative_difference(moved.feed(tokens), want) < network_allowance(config, at::kDouble));
}

TEST_CASE("greedy continuations of a batch equal recomputation, in pieces of any length") {
  const ModelConfig config = tiny_config();
  const Model model = random_model(config);
  const Tensor prompt = random_tokens(config, 3, 5);
  Generator generator(model, 25, 3);
  CHECK_FALSE(generator.runs_captured());
  CHECK_THROWS_NAMING(generator.continue_greedy(1), ArgumentError, "feed a prompt first");
  generator.feed(prompt);
  const Tensor ids = at::cat(
      {generator.continue_greedy(7), generator.continue_greedy(0), generator.continue_greedy(13)},
      1);
  CHECK(generator.length() == 25);
  for (int64_t b = 0; b < 3; ++b) {
    const Tensor row = prompt[b];
    const std::vector<int64_t> text(row.const_data_ptr<int64_t>(),
                                    row.const_data_ptr<int64_t>() + row.numel());
    CHECK(at::equal(ids[b], at::tensor(greedy_reference(model, text, 20), at::kLong)));
  }
  CHECK_THROWS_NAMING(generator.continue_greedy(1), ArgumentError,
                      "26 positions do not fit into 25");
  CHECK_THROWS_AS(generator.continue_greedy(-1), ArgumentError);
}

TEST_CASE(
    "sampled continuations are sample_token's by sequence and position, in pieces of any length") {
  const ModelConfig config = tiny_config();
  const Model model = random_model(config);
  const Tensor prompt = random_tokens(config, 3, 5);
  const SamplingOptions sampling = {.temperature = 1.5, .top_p = 0.95};
  Generator generator(model, 25, 3);
  CHECK_THROWS_NAMING(generator.continue_sampled(1, sampling, 4), ArgumentError,
                      "feed a prompt first");
  generator.feed(prompt);
  CHECK_THROWS_NAMING(generator.continue_sampled(1, {.temperature = -1}, 4), ArgumentError,
                      "temperature");
  const Tensor ids = at::cat(
      {generator.continue_sampled(7, sampling, 4), generator.continue_sampled(13, sampling, 4)}, 1);
  CHECK(generator.length() == 25);
  for (int64_t b = 0; b < 3; ++b) {
    Generator alone(model, 25);
    alone.feed(prompt.slice(0, b, b + 1));
    for (int64_t i = 0; i < 20; ++i) {
      const int64_t id = sample_token(
          alone.logits()[0], sampling,
          {.seed = 4, .sequence = static_cast<uint64_t>(b), .position = alone.length()});
      REQUIRE(ids[b][i].item<int64_t>() == id);
      alone.feed(at::full({1, 1}, id, at::kLong));
    }
  }
  CHECK_FALSE(at::equal(ids[0], ids[1]));
}

TEST_CASE(
    "laying weights out for decoding keeps every model's function and copies no weight twice") {
  std::vector<ModelConfig> configs = tiny_configs();
  for (const ModelConfig& family : tiny_families()) configs.push_back(family);
  for (const ModelConfig& config : configs) {
    INFO(tests::describe(config));
    const Model model = random_model(config);
    const Tensor tokens = random_tokens(config, 2, 9), want = model.decoder().forward(tokens);
    const ModelAdapter adapter = model.decoder().adapter();
    const auto first = detail::lay_out_for_decoding(adapter);
    CHECK(relative_difference(model.decoder().forward(tokens), want) <
          network_allowance(config, at::kDouble));
    const auto second = detail::lay_out_for_decoding(adapter);
    for (size_t s = 0; s < first.size(); ++s) {
      for (size_t i = 0; i < first[s].branches.size(); ++i) {
        CHECK(first[s].branches[i].readers.is_alias_of(second[s].branches[i].readers));
        CHECK(at::equal(first[s].branches[i].readers, second[s].branches[i].readers));
        for (const LinearRef& reader : adapter.sublayers[s].branches[i].readers)
          CHECK(reader.weight.is_alias_of(first[s].branches[i].readers));
      }
    }
  }
}

TEST_CASE("greedy texts equal recomputation, of dense and sliced models") {
  const ModelConfig config = tiny_config();
  Model model = random_model(config);
  const std::vector<int64_t> prompt = {1, 17, 5};
  CHECK(generate(model, prompt, {.max_tokens = 20}) == greedy_reference(model, prompt, 20));
  slice_model(model, random_tokens(config, 4, 16), {.method = Method::kSliceGpt, .slice = 0.25});
  CHECK(generate(model, prompt, {.max_tokens = 20}) == greedy_reference(model, prompt, 20));
}

TEST_CASE("a text ends at a stop token, at the callback's word or at its length") {
  const ModelConfig config = tiny_config();
  const Model model = random_model(config);
  const std::vector<int64_t> prompt = {1, 17, 5},
                             text = generate(model, prompt, {.max_tokens = 12});
  REQUIRE(text.size() == 12);
  CHECK(generate(model, prompt, {.max_tokens = 0}).empty());

  const size_t first =
      static_cast<size_t>(std::find(text.begin(), text.end(), text[5]) - text.begin());
  const auto stopped = generate(model, prompt, {.max_tokens = 12, .stop_tokens = {text[5]}});
  CHECK(stopped ==
        std::vector<int64_t>(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(first)));

  std::vector<int64_t> heard;
  const auto cut = generate(model, prompt, {.max_tokens = 12}, [&](int64_t id) {
    heard.push_back(id);
    return heard.size() < 4;
  });
  CHECK(cut == std::vector<int64_t>(text.begin(), text.begin() + 4));
  CHECK(heard == cut);
}

TEST_CASE("a text that reaches the last learned position ends there, asked for more or not") {
  const ModelConfig opt = tiny_families()[2];
  const Model model = random_model(opt), rotary = random_model(tiny_config());
  REQUIRE(opt.positions() == 128);
  for (const SamplingOptions& sampling : {SamplingOptions{}, SamplingOptions{.temperature = 1}}) {
    const std::vector<int64_t> prompt(120, 3);
    const auto text = [&](int64_t max_tokens) {
      return generate(model, prompt, {.max_tokens = max_tokens, .sampling = sampling, .seed = 5});
    };
    const std::vector<int64_t> whole = text(8);
    CHECK(whole.size() == 8);
    for (const int64_t past : {9, 10, 24, 400}) CHECK(text(past) == whole);
    CHECK(text(7) == std::vector<int64_t>(whole.begin(), whole.end() - 1));
  }
  CHECK(generate(model, std::vector<int64_t>(127, 3), {.max_tokens = 2}).size() == 1);
  CHECK(generate(model, std::vector<int64_t>(128, 3), {.max_tokens = 2}).empty());
  CHECK_THROWS_NAMING(generate(model, std::vector<int64_t>(129, 3)), ArgumentError,
                      "this model has 128, asked for 129");
  CHECK(generate(rotary, std::vector<int64_t>(126, 3), {.max_tokens = 5}).size() == 5);
}

TEST_CASE("sampled texts are repeatable by seed and differ between seeds") {
  const Model model = random_model(tiny_config());
  const auto text = [&](uint64_t seed) {
    return generate(model, {1},
                    {.max_tokens = 30, .sampling = {.temperature = 1, .top_p = 0.9}, .seed = seed});
  };
  CHECK(text(1) == text(1));
  CHECK(text(1) != text(2));
  Generator generator(model, 31);
  generator.feed(at::ones({1, 1}, at::kLong));
  const Tensor ids = generator.continue_sampled(30, {.temperature = 1, .top_p = 0.9}, 1);
  CHECK(at::equal(ids[0], at::tensor(text(1), at::kLong)));
}

TEST_CASE("an empty prompt, foreign ids and a negative length are refused") {
  const Model model = random_model(tiny_config());
  CHECK_THROWS_NAMING(generate(model, {}), ArgumentError, "prompt");
  CHECK_THROWS_NAMING(generate(model, {1}, {.max_tokens = -1}), ArgumentError, "max_tokens");
  CHECK_THROWS_NAMING(generate(model, {53}), ArgumentError, "[0, 53)");
  CHECK_THROWS_NAMING(generate(model, {1}, {.max_tokens = 0, .sampling = {.top_p = 2}}),
                      ArgumentError, "top-p");
}

}  // namespace
}  // namespace slice
