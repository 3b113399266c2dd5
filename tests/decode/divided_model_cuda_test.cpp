// Captured decoding by several ranks against one GPU: over two GPUs of this process, or, with torchrun's
// variables, by processes that share one (divided_processes_cuda_test.cpp starts these).

#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>

#include <algorithm>
#include <catch2/catch_all.hpp>
#include <map>
#include <optional>

#include "libslice/base/error.h"
#include "libslice/decode/batch.h"
#include "libslice/decode/divided_model.h"
#include "libslice/decode/engine.h"
#include "libslice/decode/generator.h"
#include "tests/support/decoding_layouts.h"
#include "tests/support/engine_models.h"
#include "tests/support/error_bounds.h"
#include "tests/support/gpu_model.h"
#include "tests/support/gpu_ranks.h"
#include "tests/support/matchers.h"
#include "tests/support/random_ids.h"
#include "tests/support/temporary_directory.h"

namespace slice {
namespace {

using at::Tensor;
using namespace tests;

/// The model of a configuration as one GPU and as several hold it.
struct Pair {
  Model one;
  DividedModel several;
};
Pair pair_of(const ModelConfig& config, at::ScalarType dtype,
             const std::vector<at::Device>& devices = kBothGpus) {
  const TemporaryDirectory scratch;
  const std::string path = (scratch.path() / "model").string();
  Model model = random_model(config, 1, at::kFloat);
  for (auto& parameter : model.decoder().named_parameters())
    parameter.value().set_data(parameter.value().to(dtype).to(at::kFloat));
  save_model(model, path, {.dtype = at::kFloat});
  return {load_model(path, {.device = kBothGpus[0], .dtype = dtype}),
          divided_model(path, dtype, devices)};
}

/// Layouts whose heads and channels the ranks can share.
std::vector<std::pair<std::string, ModelConfig>> layouts() {
  std::vector<std::pair<std::string, ModelConfig>> all;
  for (auto& layout : decoding_layouts({}, /*bare=*/16))
    if (layout.second.head_norm != HeadNorm::kAll &&
        layout.second.heads >= std::max<int64_t>(2, process_ranks().size()))
      all.push_back(std::move(layout));
  return all;
}

TEST_CASE("ranks write the greedy tokens of one GPU, in every layout", "[cuda][ranks][processes]") {
  require_ranks();
  size_t turn = 0;
  for (const auto& [name, config] : layouts()) {
    const int64_t B = std::vector<int64_t>{1, 3, 17}[turn++ % 3];
    INFO(tests::describe(config) << " " << name << " batch " << B);
    const auto [one, several] = pair_of(config, at::kFloat);
    const Tensor prompt = random_tokens(config, B, 5);
    Generator want(one, 75, B), got(several, 75, B);
    CHECK(got.runs_captured());
    CHECK(relative_difference(got.feed(prompt).cpu(), want.feed(prompt).cpu()) < 1e-4);
    CHECK(at::equal(got.continue_greedy(30).cpu(), want.continue_greedy(30).cpu()));
    CHECK(at::equal(got.continue_greedy(39).cpu(), want.continue_greedy(39).cpu()));
    CHECK(got.length() == 74);
    CHECK(relative_difference(got.logits().cpu(), want.logits().cpu()) < 1e-4);
    got.truncate(20);
    want.truncate(20);
    const Tensor next = random_tokens(config, B, 1, 3);
    CHECK(relative_difference(got.feed(next).cpu(), want.feed(next).cpu()) < 1e-4);
    CHECK(at::equal(got.continue_greedy(9).cpu(), want.continue_greedy(9).cpu()));
  }
}

TEST_CASE("ranks write the 256 greedy tokens of one GPU, whichever is the first",
          "[cuda][ranks][processes]") {
  require_ranks();
  for (const ModelConfig& config : {tiny_config(), scaled_config()}) {
    INFO(tests::describe(config));
    const auto [one, several] = pair_of(config, at::kFloat, {kBothGpus[1], kBothGpus[0]});
    const Tensor prompt = random_tokens(config, 2, 5);
    Generator want(one, 262, 2), got(several, 262, 2);
    want.feed(prompt);
    CHECK(got.feed(prompt).device() == several.devices()[0]);
    CHECK(at::equal(got.continue_greedy(256).cpu(), want.continue_greedy(256).cpu()));
    CHECK(at::equal(got.logits().argmax(1).cpu(), want.logits().argmax(1).cpu()));
  }
}

TEST_CASE("one GPU while another is the current one writes what it writes alone", "[cuda][ranks]") {
  require_two_gpus();
  const TemporaryDirectory scratch;
  const std::string path = (scratch.path() / "model").string();
  save_model(random_model(tiny_config()), path, {.dtype = at::kFloat});
  const Tensor prompt = random_tokens(tiny_config(), 2, 40);
  std::vector<Tensor> ids;
  for (const at::Device& device : kBothGpus) {
    const c10::cuda::CUDAGuard current(kBothGpus[0]);
    const Model model = load_model(path, {.device = device, .dtype = at::kFloat});
    Generator generator(model, 80, 2);
    generator.feed(prompt);
    ids.push_back(generator.continue_greedy(20).cpu());
    ids.push_back(generator.continue_sampled(15, {.temperature = 1}, 7).cpu());
    Batch batch(model, 2, 80);
    batch.add({1, 2, 3}, {.max_tokens = 5});
    ids.push_back(at::tensor(batch.step(5)[0].tokens, at::kLong));
  }
  for (size_t i = 0; i < 3; ++i) CHECK(at::equal(ids[i], ids[i + 3]));
}

TEST_CASE("logits of ranks in half precision differ by roundings", "[cuda][ranks][processes]") {
  require_ranks();
  for (const ModelConfig& config : tiny_configs()) {
    if (config.heads < std::max<int64_t>(2, process_ranks().size())) continue;
    for (const at::ScalarType dtype : {at::kHalf, at::kBFloat16}) {
      INFO(tests::describe(config) << " " << c10::toString(dtype));
      const auto [one, several] = pair_of(config, dtype);
      const Tensor tokens = random_tokens(config, 2, 30);
      Generator got(several, 30, 2), same(one, 30, 2);
      Tensor logits, alone;
      for (int64_t t = 0; t < 30; ++t) {
        logits = got.feed(tokens.slice(1, t, t + 1));
        alone = same.feed(tokens.slice(1, t, t + 1));
      }
      const Model exact = on_gpu(config, dtype, at::kDouble);
      const Tensor want =
          exact.decoder().forward(tokens.to(at::kCUDA)).select(1, -1).to(at::kDouble).cpu();
      CHECK(relative_difference(logits.to(at::kDouble).cpu(), want) <
            3 * relative_difference(alone.to(at::kDouble).cpu(), want) + 4 * roundoff(dtype));
    }
  }
}

/// What texts that come and go write, a number each: as many prompts as there are free slots, then a
/// few steps, until all are done.
std::vector<std::vector<int64_t>> written(
    Batch& batch, const std::vector<std::pair<std::vector<int64_t>, GenerateOptions>>& asked) {
  std::vector<std::vector<int64_t>> texts(asked.size());
  std::map<int64_t, size_t> numbers;  // by id
  size_t next = 0;
  while (next < asked.size() || batch.running() > 0) {
    for (; next < asked.size(); ++next) {
      const auto id = batch.add(asked[next].first, asked[next].second);
      if (!id) break;
      numbers[*id] = next;
    }
    for (const BatchOutput& output : batch.step(3)) {
      auto& text = texts[numbers.at(output.id)];
      text.insert(text.end(), output.tokens.begin(), output.tokens.end());
    }
  }
  return texts;
}

TEST_CASE("texts that come and go over ranks are those of one GPU", "[cuda][ranks][processes]") {
  require_ranks();
  const ModelConfig config = tiny_config();
  const auto [one, several] = pair_of(config, at::kFloat);
  std::vector<std::pair<std::vector<int64_t>, GenerateOptions>> asked;
  std::mt19937 random(1);
  const int64_t texts_in_all = process_ranks().alone() ? 1000 : 300;  // a GPU takes turns
  for (int64_t text = 0; text < texts_in_all; ++text) {
    asked.emplace_back(random_ids(random, 1 + text % 9, config.vocabulary_size),
                       GenerateOptions{.max_tokens = 1 + text * 7 % 20,
                                       .sampling = {.temperature = text % 2 == 0 ? 0.0 : 0.8},
                                       .seed = static_cast<uint64_t>(text)});
  }
  Batch got(several, 19, 64), want(one, 19, 64);
  const auto texts = written(got, asked);
  CHECK(texts == written(want, asked));
  for (size_t text = 0; text < asked.size(); text += 25) {
    INFO("text " << text);
    CHECK(texts[text] == generate(one, asked[text].first, asked[text].second));
    CHECK(texts[text] == generate(several, asked[text].first, asked[text].second));
  }
}

TEST_CASE("what a caller changes in the logits counts on every rank", "[cuda][ranks][processes]") {
  require_ranks();
  const auto [one, several] = pair_of(tiny_config(), at::kFloat);
  Batch got(several, 3, 40), want(one, 3, 40);
  for (Batch* batch : {&got, &want}) {
    for (int64_t i = 0; i < 2; ++i) batch->add({3 + i, 4, 5}, {.max_tokens = 20});
    batch->step(2);
    batch->logits(1)[7] = 1000;
  }
  const auto a = got.step(6), b = want.step(6);
  REQUIRE(a.size() == b.size());
  for (size_t i = 0; i < a.size(); ++i) CHECK(a[i].tokens == b[i].tokens);
  CHECK(a[1].tokens[0] == 7);
}

TEST_CASE("an engine over two GPUs writes what one writes", "[cuda][ranks]") {
  require_two_gpus();
  const auto [one, several] = pair_of(tiny_config(), at::kFloat);
  EngineOptions options = one_model(std::make_shared<const Model>(one.share()));
  options.models[0].divided = std::make_shared<const DividedModel>(several);
  options.models[0].model.reset();
  const EngineBytes bytes = engine_bytes(options);
  CHECK(bytes.weights > 0);
  CHECK(bytes.cache > 0);
  Engine engine(std::move(options));
  engine.warm_up();
  std::vector<RequestHandle> handles;
  for (int64_t i = 0; i < 20; ++i) handles.push_back(engine.submit(some_request(one, i)));
  for (int64_t i = 0; i < 20; ++i) {
    INFO("request " << i);
    const RequestResult result = handles[static_cast<size_t>(i)].wait();
    CHECK(result.error.empty());
    CHECK(result.texts.at(0).ids == generated(one, some_request(one, i)));
  }
}

TEST_CASE("an engine takes no model that spans processes", "[cuda][ranks][processes]") {
  require_ranks();
  const auto [one, several] = pair_of(tiny_config(), at::kFloat);
  CHECK(several.spans_processes() != process_ranks().alone());
  if (process_ranks().alone()) return;
  EngineOptions options = one_model(std::make_shared<const Model>(one.share()));
  options.models[0].divided = std::make_shared<const DividedModel>(several);
  options.models[0].model.reset();
  CHECK_THROWS_NAMING(Engine(std::move(options)), ArgumentError, "other processes");
}

TEST_CASE("an error of a text over ranks changes nothing", "[cuda][ranks][processes]") {
  require_ranks();
  const ModelConfig config = tiny_config();
  const auto [one, several] = pair_of(config, at::kFloat);
  Generator got(several, 20), want(one, 20);
  const Tensor prompt = random_tokens(config, 1, 5);
  got.feed(prompt);
  want.feed(prompt);
  CHECK_THROWS_NAMING(got.feed(at::full({1, 2}, config.vocabulary_size, at::kLong)), ArgumentError,
                      "want ids in");
  CHECK(got.length() == 5);
  CHECK(at::equal(got.continue_greedy(10).cpu(), want.continue_greedy(10).cpu()));
}

TEST_CASE("a model is not divided among devices that cannot hold it together", "[cuda][ranks]") {
  require_two_gpus();
  const TemporaryDirectory scratch;
  const std::string path = (scratch.path() / "model").string();
  save_model(random_model(tiny_config()), path, {.dtype = at::kFloat});
  CHECK_THROWS_NAMING(DividedModel(path, {kBothGpus[0], kBothGpus[0]}), ArgumentError,
                      "named twice");
  CHECK_THROWS_NAMING(DividedModel(path, {kBothGpus[0], at::Device(at::kCPU)}), DeviceError,
                      "want a GPU");
  CHECK_THROWS_AS(DividedModel(path, {kBothGpus[0], at::Device(at::kCUDA, 99)}), DeviceError);
  CHECK_THROWS_NAMING(DividedModel(path, {}), ArgumentError, "devices");
  CHECK_THROWS_NAMING(DividedModel(path, kBothGpus, at::kDouble), ArgumentError, "float32");
}

}  // namespace
}  // namespace slice
