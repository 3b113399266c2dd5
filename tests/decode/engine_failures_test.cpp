// What an Engine refuses, and what ends texts before their time.

#include <ATen/ATen.h>

#include <catch2/catch_all.hpp>
#include <cmath>
#include <thread>

#include "libslice/decode/engine.h"
#include "libslice/model/decoder.h"
#include "tests/support/engine_models.h"
#include "tests/support/matchers.h"

namespace slice {
namespace {

using at::Tensor;
using namespace tests;
using namespace std::chrono_literals;
using Ids = std::vector<int64_t>;

TEST_CASE("a request that cannot run is refused before it waits, by the name of what is wrong") {
  const auto model = shared_model();
  Engine engine(one_model(model, 2, 20));
  const auto refused = [&](auto&& change, const char* name) {
    Request request;
    request.prompt = {1, 2, 3};
    change(request);
    CHECK_THROWS_NAMING(engine.submit(request), ArgumentError, name);
  };
  refused([](Request& r) { r.prompt.clear(); }, "no tokens");
  refused([](Request& r) { r.prompt = Ids(20, 1); }, "no room");
  refused([](Request& r) { r.prompt = {53}; }, "[0, 53)");
  refused([](Request& r) { r.options.max_tokens = -1; }, "max_tokens");
  refused([](Request& r) { r.options.sampling.temperature = -1; }, "temperature");
  refused([](Request& r) { r.options.sampling.top_p = 2; }, "top-p");
  refused([](Request& r) { r.rules.top_k = -1; }, "top-k");
  refused([](Request& r) { r.stop_strings = {""}; }, "stop strings");
  refused([](Request& r) { r.texts = 0; }, "texts");
  refused([](Request& r) { r.texts = 129; }, "texts");
  refused([](Request& r) { r.logprobs = 101; }, "logprobs");
  refused([](Request& r) { r.prompt_logprobs = -1; }, "prompt_logprobs");
  Request unknown;
  unknown.model = "gpt";
  CHECK_THROWS_NAMING(engine.submit(unknown), UnknownModel, "gpt");
  CHECK(engine.statistics().submitted == 0);
}

TEST_CASE("an engine of bad options is not made") {
  const auto model = shared_model();
  const auto refused = [&](auto&& change, const char* name) {
    EngineOptions options = one_model(model);
    change(options);
    CHECK_THROWS_NAMING(Engine(options), ArgumentError, name);
  };
  refused([](EngineOptions& o) { o.models.clear(); }, "no model");
  refused([](EngineOptions& o) { o.models.push_back(o.models[0]); }, "two models named tiny");
  refused([](EngineOptions& o) { o.models[0].model.reset(); }, "a model or a decoder");
  refused([](EngineOptions& o) { o.models[0].slots = 0; }, "slots");
  refused([](EngineOptions& o) { o.queue = 0; }, "queue");
  refused([](EngineOptions& o) { o.prompt_chunk = 0; }, "prompt_chunk");
  refused([](EngineOptions& o) { o.prefix_bytes = -1; }, "prefix_bytes");
  refused([](EngineOptions& o) { o.step_tokens = -1; }, "step_tokens");
  refused([](EngineOptions& o) { o.threads = -1; }, "threads");
}

TEST_CASE("a full queue refuses, a higher priority begins first") {
  const auto model = shared_model();
  EngineOptions options = one_model(model, 1);
  options.queue = 3;
  Engine engine(options);
  Gate gate;
  RequestHandle held = engine.submit(gate.request());
  gate.wait();
  std::vector<int> order;  // on the engine's thread
  std::vector<RequestHandle> handles;
  for (const int priority : {0, -1, 5}) {
    Request request = some_request(*model, 2);
    request.priority = priority;
    request.on_piece = [&order, priority](const TextPiece& piece) {
      if (piece.finish != Finish::kNone) order.push_back(priority);
    };
    handles.push_back(engine.submit(std::move(request)));
  }
  CHECK(engine.statistics().waiting == 3);
  CHECK_THROWS_NAMING(engine.submit(some_request(*model, 1)), QueueFull, "3 requests wait");
  CHECK(engine.statistics().refused == 1);
  gate.open();
  for (RequestHandle& handle : handles) handle.wait();
  CHECK(order == std::vector<int>{5, 0, -1});
}

TEST_CASE("a cancelled text ends where it is, one that waits never begins") {
  const auto model = shared_model();
  Engine engine(one_model(model, 1));
  Request longest = some_request(*model, 2);
  longest.options.max_tokens = 70;
  RequestHandle runs = engine.submit(longest), waits = engine.submit(longest);
  const auto first = runs.next();
  REQUIRE(first);
  waits.cancel();
  runs.cancel();
  const RequestResult ended = runs.wait(), never = waits.wait();
  CHECK(ended.texts[0].finish == Finish::kCancelled);
  Ids ids = first->ids;
  ids.insert(ids.end(), ended.texts[0].ids.begin(), ended.texts[0].ids.end());
  const Ids all = generated(*model, longest);
  REQUIRE(ids.size() <= all.size());
  CHECK(std::equal(ids.begin(), ids.end(), all.begin()));
  CHECK(never.texts[0].finish == Finish::kCancelled);
  CHECK(never.usage.completion_tokens == 0);
  CHECK(engine.submit(some_request(*model, 3)).wait().error.empty());
  CHECK(engine.statistics().cancelled == 2);
}

TEST_CASE("a text whose reader vanishes ends, one with a callback goes on") {
  const auto model = shared_model();
  Engine engine(one_model(model, 2));
  Request longest = some_request(*model, 2);
  longest.options.max_tokens = 70;
  engine.submit(longest);
  std::promise<Finish> ended;
  longest.on_piece = [&](const TextPiece& piece) {
    if (piece.finish != Finish::kNone) ended.set_value(piece.finish);
  };
  engine.submit(longest);
  CHECK(ended.get_future().get() == Finish::kLength);
  CHECK(engine.drain());
  CHECK(engine.statistics().cancelled == 1);
  CHECK(engine.statistics().finished == 1);
}

TEST_CASE("a deadline ends a text, in the queue too") {
  const auto model = shared_model();
  Engine engine(one_model(model, 1));
  Gate gate;
  RequestHandle held = engine.submit(gate.request());
  gate.wait();
  Request late = some_request(*model, 2), soon = late;
  late.deadline = std::chrono::steady_clock::now() + 1ms;
  soon.deadline = std::chrono::steady_clock::now() + 1h;
  RequestHandle first = engine.submit(late), second = engine.submit(soon);
  CHECK_FALSE(first.next(5ms));  // nothing yet
  CHECK_FALSE(first.finished());
  gate.open();
  CHECK(first.wait().texts[0].finish == Finish::kDeadline);
  CHECK(second.wait().texts[0].finish == Finish::kLength);
  Request runs = some_request(*model, 2);
  runs.options.max_tokens = 70;
  runs.deadline = std::chrono::steady_clock::now() + 20ms;
  runs.constraint = [](int64_t, std::span<const int64_t>, Tensor&) {
    std::this_thread::sleep_for(2ms);
  };
  const RequestResult cut = engine.submit(runs).wait();
  CHECK(cut.texts[0].finish == Finish::kDeadline);
  CHECK(cut.texts[0].ids.size() < 70);
  CHECK(engine.statistics().expired == 2);
}

TEST_CASE("what a hook throws ends its request alone, with the message") {
  const auto model = shared_model();
  Engine engine(one_model(model));
  Request beside = some_request(*model, 5);
  beside.options.max_tokens = 40;
  RequestHandle other = engine.submit(beside);
  Request request = some_request(*model, 2);
  request.options.max_tokens = 20;
  request.texts = 3;
  request.constraint = [](int64_t index, std::span<const int64_t> ids, Tensor&) {
    if (index == 1 && ids.size() == 4) throw std::runtime_error("no such grammar\nsecond line");
  };
  const RequestResult constrained = engine.submit(request).wait();
  CHECK(constrained.error == "no such grammar");
  for (const TextPiece& text : constrained.texts) CHECK(text.finish == Finish::kError);
  CHECK(constrained.texts[1].ids.size() == 4);
  request.constraint = {};
  int heard = 0;
  request.on_piece = [&](const TextPiece&) {
    if (++heard == 5) throw 17;
  };
  const RequestResult thrown = engine.submit(request).wait();
  CHECK(heard == 5);
  CHECK(thrown.error == "an exception of an unknown type");
  CHECK(other.wait().texts[0].ids == generated(*model, beside));
  CHECK(engine.statistics().failed == 2);
}

TEST_CASE("a step that fails ends the texts that run, and the engine goes on") {
  const auto model = shared_model();
  std::vector<std::string> log;
  EngineOptions options = one_model(model);
  options.log = [&](const std::string& line) { log.push_back(line); };
  Engine engine(options);
  Tensor norm = model->decoder().named_parameters()["model.norm.weight"];
  const Tensor whole = norm.detach().clone();
  const auto set = [&](const Tensor& value) { norm.set_data(value); };
  Request request = some_request(*model, 2);
  request.options.max_tokens = 20;
  request.on_piece = [&](const TextPiece& piece) {  // on the engine's thread, between two steps
    set(piece.finish == Finish::kNone ? at::ones({3}) : whole);
  };
  RequestHandle breaks = engine.submit(request);
  const RequestResult broken = breaks.wait();
  CHECK(broken.texts[0].finish == Finish::kError);
  CHECK_FALSE(broken.error.empty());
  CHECK(broken.error.find('\n') == std::string::npos);
  Request good = some_request(*model, 3);
  CHECK(engine.submit(good).wait().texts[0].ids == generated(*model, good));
  REQUIRE(log.size() == 1);
  CHECK(log[0].starts_with("tiny: a step failed"));
  // Where every one fails the model is closed.
  Gate gate;
  RequestHandle held = engine.submit(gate.request());
  gate.wait();
  set(at::ones({3}));
  std::vector<RequestHandle> all;
  for (int i = 0; i < 20; ++i) all.push_back(engine.submit(good));
  gate.open();
  for (RequestHandle& handle : all) CHECK(handle.wait().texts[0].finish == Finish::kError);
  CHECK_THROWS_AS(engine.submit(good), EngineClosed);
  set(whole);
}

TEST_CASE("a NaN ends the text that has it as an error") {
  Model model = random_model(tiny_config(), 1, at::kFloat);
  for (auto& parameter : model.decoder().named_parameters())
    if (parameter.key() == "model.embed_tokens.weight") parameter.value().data()[17].fill_(NAN);
  const auto shared = std::make_shared<const Model>(std::move(model));
  Engine engine(one_model(shared));
  Request request;
  request.prompt = {1, 17};
  const RequestResult result = engine.submit(request).wait();
  CHECK(result.texts[0].finish == Finish::kError);
  CHECK(result.error == "the logits hold a NaN or Inf");
}

TEST_CASE("a closed engine ends what it has; a stopped one cancels it") {
  const auto model = shared_model();
  Request longest = some_request(*model, 2);
  longest.options.max_tokens = 70;
  {
    Engine engine(one_model(model, 1));
    RequestHandle a = engine.submit(longest), b = engine.submit(longest);
    engine.close();
    CHECK_THROWS_AS(engine.submit(longest), EngineClosed);
    CHECK_THROWS_AS(engine.warm_up(), EngineClosed);
    CHECK(engine.drain());
    CHECK(a.finished() == false);  // its pieces wait
    CHECK(a.wait().texts[0].ids == generated(*model, longest));
    CHECK(b.wait().texts[0].finish == Finish::kLength);
  }
  std::vector<RequestHandle> handles;
  {
    Engine engine(one_model(model, 1));
    for (int i = 0; i < 4; ++i) handles.push_back(engine.submit(longest));
    handles[0].next();
    CHECK_FALSE(engine.drain(0ms));
    engine.stop();
    engine.stop();
    CHECK(engine.drain());
  }
  for (RequestHandle& handle : handles)  // which outlive it
    CHECK(handle.wait().texts[0].finish == Finish::kCancelled);
}

}  // namespace
}  // namespace slice
