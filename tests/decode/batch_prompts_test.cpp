// Prompts of a Batch in pieces, and those that begin alike.

#include <ATen/ATen.h>

#include <catch2/catch_all.hpp>

#include "libslice/base/error.h"
#include "libslice/decode/batch.h"
#include "tests/support/error_bounds.h"
#include "tests/support/gpu_model.h"
#include "tests/support/matchers.h"
#include "tests/support/require_gpu.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

using at::Tensor;
using namespace tests;
using Ids = std::vector<int64_t>;

Ids random_ids(const ModelConfig& config, int64_t length, uint64_t seed) {
  const Tensor tokens = random_tokens(config, 1, length, seed);
  return {tokens.const_data_ptr<int64_t>(), tokens.const_data_ptr<int64_t>() + length};
}

Ids joined(Ids a, const Ids& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

/// The ids of a text of a batch to its end, by steps of n tokens.
Ids rest(Batch& batch, int64_t id, int64_t n = 3) {
  Ids text;
  while (true) {
    for (const BatchOutput& output : batch.step(n)) {
      if (output.id != id) continue;
      text.insert(text.end(), output.tokens.begin(), output.tokens.end());
      if (output.ending != Ending::kNone) return text;
    }
  }
}

/// Texts of float64 models, whose logits do not lie so close together that a rounding decides.
void check_pieces(const Model& model) {
  const GenerateOptions options = {.max_tokens = 9, .sampling = {.temperature = 0.8}, .seed = 5};
  const GenerateOptions beside = {.max_tokens = 60, .sampling = {.temperature = 1}, .seed = 6};
  const Ids prompt = random_ids(model.config(), 37, 3), other = random_ids(model.config(), 5, 4);
  const Ids want = generate(model, prompt, options), want_beside = generate(model, other, beside);
  for (const int64_t piece : {1, 5, 36, 37, 100}) {
    INFO("pieces of " << piece);
    Batch batch(model, 3, 80);
    const int64_t running = *batch.add(other, beside), id = *batch.begin(prompt, options);
    Ids text_beside;
    int64_t left = 37;
    while (left > 0) {
      CHECK_THROWS_NAMING(batch.logits(id), ArgumentError, "prompt");
      const int64_t now = batch.feed(id, piece);
      CHECK(now == std::max<int64_t>(0, left - piece));
      left = now;
      if (left == 0) break;
      for (const BatchOutput& output : batch.step()) {  // of the other one alone
        CHECK(output.id == running);
        text_beside = joined(text_beside, output.tokens);
      }
    }
    CHECK_THROWS_NAMING(batch.feed(id, 1), ArgumentError, "has its prompt");
    CHECK(batch.fed() == 5 + 37);
    Ids text;
    while (batch.running() > 0)
      for (const BatchOutput& output : batch.step(2)) {
        Ids& whole = output.id == id ? text : text_beside;
        whole = joined(whole, output.tokens);
      }
    CHECK(text == want);
    CHECK(text_beside == want_beside);
  }
}

TEST_CASE("a prompt in pieces, between steps of other texts, gives the text of the whole") {
  check_pieces(random_model(tiny_config()));
  for (const ModelConfig& config : tiny_families()) {
    INFO(describe(config));
    check_pieces(random_model(config));
  }
}

TEST_CASE("a text that waits for its prompt bounds the steps of others by its room") {
  const Model model = random_model(tiny_config());
  Batch batch(model, 2, 30);
  const int64_t waits = *batch.begin(random_ids(model.config(), 29, 1), {.max_tokens = 5});
  CHECK(batch.feed(waits, 28) == 1);
  const Ids other = {1, 2, 3};
  const int64_t id = *batch.add(other, {.max_tokens = 20});
  CHECK(rest(batch, id, 20) == generate(model, other, {.max_tokens = 20}));
  CHECK(batch.feed(waits, 1) == 0);
  CHECK(rest(batch, waits).size() == 1);
}

TEST_CASE("texts of one prompt that begin together are fed once, to the bit") {
  const Model model = random_model(tiny_config(), 1, at::kFloat);
  const Ids prompt = random_ids(model.config(), 20, 2);
  Batch batch(model, 4, 40);
  std::vector<int64_t> ids;
  const auto options = [](uint64_t i) {
    return GenerateOptions{
        .max_tokens = 10, .sampling = {.temperature = 1}, .seed = 9, .sequence = i};
  };
  for (uint64_t i = 0; i < 4; ++i) ids.push_back(*batch.begin(prompt, options(i)));
  CHECK(batch.feed(ids[0], 100) == 0);
  for (uint64_t i = 1; i < 4; ++i) {
    CHECK(batch.feed(ids[i], 0) == 0);
    CHECK(batch.reused(ids[i]) == 20);
  }
  CHECK(batch.fed() == 20);
  const auto outputs = batch.step(10);
  for (uint64_t i = 0; i < 4; ++i)
    CHECK(outputs.at(i).tokens == generate(model, prompt, options(i)));
  CHECK(outputs[0].tokens != outputs[1].tokens);
}

/// Prompts that run together, of different lengths, beside a text that has its own.
void check_together(const Model& model) {
  const GenerateOptions options = {.max_tokens = 9, .sampling = {.temperature = 0.8}, .seed = 5};
  const GenerateOptions beside = {.max_tokens = 60, .sampling = {.temperature = 1}, .seed = 6};
  const std::vector<int64_t> lengths = {7, 1, 30, 13, 2};
  std::vector<Ids> prompts, want;
  for (const int64_t length : lengths) {
    prompts.push_back(random_ids(model.config(), length, 20 + static_cast<uint64_t>(length)));
    want.push_back(generate(model, prompts.back(), options));
  }
  const Ids other = random_ids(model.config(), 5, 4), want_beside = generate(model, other, beside);
  for (const int64_t most : {1, 4, 20, 1000}) {
    INFO("at most " << most);
    Batch batch(model, 6, 80);
    const int64_t running = *batch.add(other, beside);
    Ids ids, text_beside, left = lengths;
    for (const Ids& prompt : prompts) ids.push_back(*batch.begin(prompt, options));
    std::vector<Ids> texts(prompts.size());
    const auto take = [&](const std::vector<BatchOutput>& outputs) {
      for (const BatchOutput& output : outputs) {
        const auto id = std::find(ids.begin(), ids.end(), output.id);
        Ids& text = output.id == running ? text_beside : texts[id - ids.begin()];
        text = joined(text, output.tokens);
      }
    };
    for (Ids waiting = ids; !waiting.empty();) {
      const int64_t before = batch.fed();
      const Ids now = batch.feed(waiting, most);
      CHECK(batch.fed() - before <= most);
      CHECK(batch.fed() > before);
      Ids next;
      for (size_t i = 0; i < waiting.size(); ++i)
        if (now[i] > 0) next.push_back(waiting[i]);
      waiting = next;
      take(batch.step());
    }
    CHECK(batch.fed() == 5 + 7 + 1 + 30 + 13 + 2);
    while (batch.running() > 0) take(batch.step(2));
    CHECK(texts == want);
    CHECK(text_beside == want_beside);
  }
}

TEST_CASE("prompts that are fed together give the texts of each alone") {
  check_together(random_model(tiny_config()));
  for (const ModelConfig& config : tiny_families()) check_together(random_model(config));
}

/// What prompts that are fed together have in common is run once.
void check_common(const Model& model) {
  const Ids shared = random_ids(model.config(), 40, 11), same = random_ids(model.config(), 9, 12);
  const GenerateOptions options = {.max_tokens = 6, .sampling = {.temperature = 0.7}, .seed = 3};
  std::vector<Ids> prompts = {same, same};
  for (uint64_t i = 0; i < 4; ++i)
    prompts.push_back(joined(shared, random_ids(model.config(), 5, 100 + i)));
  Batch batch(model, 8, 80, {.prefix_bytes = int64_t{64} << 20});
  Ids ids;
  for (const Ids& prompt : prompts) ids.push_back(*batch.begin(prompt, options));
  CHECK(batch.feed(ids, 1000) == Ids(6, 0));
  CHECK(batch.fed() == 9 + 40 + 4 * 5);
  CHECK(batch.reused(ids[1]) == 9);
  CHECK(batch.reused(ids[5]) == 40);
  const auto outputs = batch.step(6);
  REQUIRE(outputs.size() == 6);
  for (size_t i = 0; i < prompts.size(); ++i)
    CHECK(outputs[i].tokens == generate(model, prompts[i], options));
}

TEST_CASE("what prompts that are fed together have in common is run once") {
  check_common(random_model(tiny_config()));
}

TEST_CASE("texts that cannot be fed together are refused, nothing is fed") {
  const Model model = random_model(tiny_config(), 1, at::kFloat);
  Batch batch(model, 3, 40);
  const int64_t has = *batch.add({1, 2}), waits = *batch.begin({3, 4, 5});
  CHECK_THROWS_NAMING(batch.feed({waits, has}, 9), ArgumentError, "has its prompt");
  CHECK_THROWS_NAMING(batch.feed({waits, waits}, 9), ArgumentError, "named twice");
  CHECK_THROWS_NAMING(batch.feed({waits, 99}, 9), ArgumentError, "99");
  CHECK_THROWS_NAMING(batch.feed(Ids{waits}, -1), ArgumentError, "at least 0");
  CHECK(batch.fed() == 2);
  CHECK(batch.feed(Ids{}, 9).empty());
  CHECK(batch.feed(Ids{waits}, 0) == Ids{3});
  CHECK(batch.feed(Ids{waits}, 2) == Ids{1});
  CHECK(batch.feed(Ids{waits}, 2) == Ids{0});
}

TEST_CASE("logits that were changed are not those of another text") {
  const Model model = random_model(tiny_config(), 1, at::kFloat);
  Batch batch(model, 2, 40);
  const Ids prompt = {1, 17, 5};
  const int64_t changed = *batch.add(prompt, {.max_tokens = 3});
  batch.logits(changed)[7].fill_(1000);
  const int64_t other = *batch.add(prompt, {.max_tokens = 3});
  CHECK(batch.reused(other) == 0);
  CHECK(batch.step(3).at(1).tokens == generate(model, prompt, {.max_tokens = 3}));
}

void check_prefixes(const Model& model) {
  constexpr int64_t kShared = 60, kTexts = 12;
  const Ids shared = random_ids(model.config(), kShared, 11);
  const GenerateOptions options = {.max_tokens = 6, .sampling = {.temperature = 0.7}, .seed = 3};
  const auto prompt = [&](int64_t i) {
    return joined(shared, random_ids(model.config(), 4 + i % 3, 100 + static_cast<uint64_t>(i)));
  };
  Batch batch(model, 3, 90, {.prefix_bytes = int64_t{64} << 20});
  int64_t all = 0;
  for (int64_t i = 0; i < kTexts; ++i) {
    all += std::ssize(prompt(i));
    const int64_t id = *batch.add(prompt(i), options);
    CHECK(batch.reused(id) >= (i == 0 ? 0 : kShared));
    CHECK(rest(batch, id) == generate(model, prompt(i), options));
  }
  CHECK(5 * batch.fed() <= all);
  // What a text wrote is of use to the next one, which continues it.
  const Ids answer = generate(model, prompt(0), options), more = {3, 1, 4};
  const Ids longer = joined(joined(prompt(0), answer), more);
  const int64_t id = *batch.add(longer, options);
  CHECK(batch.reused(id) == std::ssize(prompt(0)) + std::ssize(answer) - 1);
  CHECK(rest(batch, id) == generate(model, longer, options));
  // A text that still runs is a source, too.
  const Ids first = random_ids(model.config(), 30, 77), second = joined(first, {1, 2});
  const int64_t runs = *batch.add(first, {.max_tokens = 40});
  batch.step(2);
  const int64_t follows = *batch.add(second, options);
  CHECK(batch.reused(follows) >= 30);
  CHECK(rest(batch, follows) == generate(model, second, options));
  batch.remove(runs);
}

TEST_CASE("a prompt that begins like another is fed from where they part") {
  check_prefixes(random_model(tiny_config()));
  check_prefixes(random_model(tiny_families()[0]));  // a window shorter than the prompt
  check_prefixes(random_model(tiny_families()[2]));  // learned positions
}

TEST_CASE("prefixes stay within their bytes, the least recently used goes") {
  const Model model = random_model(tiny_config());
  const ModelConfig& c = model.config();
  const int64_t token = 2 * c.layers * c.kv_heads * c.head_size * 8;
  Batch batch(model, 1, 60, {.prefix_bytes = 100 * token});
  const auto run = [&](uint64_t seed) {
    const int64_t id = *batch.add(random_ids(c, 40, seed), {.max_tokens = 1});
    const int64_t reused = batch.reused(id);
    batch.remove(id);
    CHECK(batch.prefix_bytes() <= 100 * token);
    return reused;
  };
  CHECK(run(1) == 0);
  CHECK(run(2) == 0);
  CHECK(batch.prefix_bytes() == 80 * token);
  CHECK(run(1) == 39);  // and the last one is fed
  CHECK(run(3) == 0);   // in place of 2
  CHECK(run(1) == 39);
  CHECK(run(2) == 0);
  Batch none(model, 1, 60);
  none.remove(*none.add(random_ids(c, 40, 1)));
  CHECK(none.prefix_bytes() == 0);
  CHECK_THROWS_NAMING(Batch(model, 1, 60, {.prefix_bytes = -1}), ArgumentError, "prefix_bytes");
}

TEST_CASE("the logits of a prompt are shown, those after each of its tokens") {
  const Model model = random_model(tiny_config());
  const Ids prompt = random_ids(model.config(), 70, 8);
  const Tensor want =
      model.decoder().forward(at::tensor(prompt, at::kLong).unsqueeze(0))[0];  // (T, V)
  for (const int64_t piece : {7, 200}) {
    Batch batch(model, 1, 90, {.prefix_bytes = 1 << 20});
    for (int repeat = 0; repeat < 2; ++repeat) {  // the second time there is a prefix
      const int64_t id = *batch.begin(prompt);
      std::vector<Tensor> seen;
      while (batch.feed(id, piece, [&](const Tensor& logits) { seen.push_back(logits.clone()); })) {
      }
      CHECK(batch.reused(id) == 0);
      const Tensor got = at::cat(seen);  // (T, V)
      REQUIRE(got.sizes() == want.sizes());
      // Sums of the same products in another order, some 10 layers of at most 200 of them.
      CHECK((got - want).abs().max().item<double>() <= 1e-10 * want.abs().max().item<double>());
      batch.remove(id);
    }
  }
}

TEST_CASE("on a GPU a prompt in pieces gives the text of the whole", "[cuda]") {
  require_gpu();
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble}) {
    check_pieces(on_gpu(tiny_config(), dtype));
    for (const ModelConfig& config : tiny_families()) check_pieces(on_gpu(config, dtype));
  }
}

TEST_CASE("on a GPU prompts that are fed together give the texts of each alone", "[cuda]") {
  require_gpu();
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble}) {
    check_together(on_gpu(tiny_config(), dtype));
    check_common(on_gpu(tiny_config(), dtype));
    for (const ModelConfig& config : tiny_families()) check_together(on_gpu(config, dtype));
  }
}

TEST_CASE("on a GPU prompts of half precision that are fed together differ by roundings",
          "[cuda]") {
  require_gpu();
  std::vector<ModelConfig> configs = tiny_families();
  configs.push_back(tiny_config());
  for (const ModelConfig& config : configs) {
    for (const at::ScalarType dtype : {at::kHalf, at::kBFloat16}) {
      INFO(describe(config) << " " << c10::toString(dtype));
      const Model half = on_gpu(config, dtype), exact = on_gpu(config, dtype, at::kDouble);
      const std::vector<Ids> prompts = {random_ids(config, 7, 1), random_ids(config, 30, 2),
                                        random_ids(config, 2, 3)};
      Batch together(half, 3, 40), alone(half, 3, 40), want(exact, 3, 40);
      Ids ids;
      for (const Ids& prompt : prompts) {
        ids.push_back(*together.begin(prompt));
        alone.add(prompt);
        want.add(prompt);
      }
      // The second call continues a prompt that the first began.
      CHECK(together.feed(ids, 20) == Ids{0, 17, 2});
      CHECK(together.feed({ids[1], ids[2]}, 100) == Ids{0, 0});
      for (const int64_t id : ids) {
        const Tensor logits = want.logits(id);
        const auto off = [&](Batch& batch) {
          return ((batch.logits(id).to(at::kDouble) - logits).abs().max() / logits.abs().max())
              .item<double>();
        };
        // As close to the exact logits as each alone, to a factor.
        CHECK(off(together) < 3 * off(alone) + 4 * roundoff(dtype));
      }
    }
  }
}

TEST_CASE("on a GPU a prompt that begins like another is fed from where they part", "[cuda]") {
  require_gpu();
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble})
    check_prefixes(on_gpu(tiny_config(), dtype));
}

}  // namespace
}  // namespace slice
