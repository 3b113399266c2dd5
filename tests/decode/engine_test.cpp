#include "libslice/decode/engine.h"

#include <ATen/ATen.h>

#include <catch2/catch_all.hpp>

#include "libslice/model/decoder.h"
#include "tests/support/engine_models.h"
#include "tests/support/matchers.h"
#include "tests/support/require_gpu.h"

namespace slice {
namespace {

using at::Tensor;
using namespace tests;
using namespace std::chrono_literals;
using Ids = std::vector<int64_t>;

void check_like_generate(std::shared_ptr<const Model> model, EngineOptions options) {
  const auto tokenizer = options.models[0].tokenizer;
  Engine engine(std::move(options));
  engine.warm_up();
  std::vector<RequestHandle> handles;
  for (int64_t i = 0; i < 20; ++i) handles.push_back(engine.submit(some_request(*model, i)));
  for (int64_t i = 0; i < 20; ++i) {
    INFO("request " << i);
    const Request request = some_request(*model, i);
    const Ids want = generated(*model, request);
    const RequestResult result = handles[static_cast<size_t>(i)].wait();
    REQUIRE(result.texts.size() == 1);
    CHECK(result.texts[0].ids == want);
    CHECK(result.texts[0].text == text_of(*tokenizer, request.prompt, want));
    CHECK(result.texts[0].finish == Finish::kLength);
    CHECK(result.error.empty());
    CHECK(result.usage.prompt_tokens == std::ssize(request.prompt));
    CHECK(result.usage.completion_tokens == std::ssize(want));
    CHECK(handles[static_cast<size_t>(i)].finished());
  }
  CHECK(engine.drain());
  const EngineStatistics s = engine.statistics("tiny");
  CHECK(s.finished == 20);
  CHECK(s.submitted == 20);
  CHECK(s.running == 0);
  CHECK(s.waiting == 0);
  CHECK(s.first_tokens == 20);
  CHECK(s.cached_positions == 0);
}

TEST_CASE("texts of an engine are those of generate") {
  const auto model = shared_model();
  check_like_generate(model, one_model(model));
  EngineOptions options = one_model(model, 1);
  options.step_tokens = 5;
  check_like_generate(model, options);
}

TEST_CASE("on a GPU texts of an engine are those of generate", "[cuda]") {
  require_gpu();
  const auto model = model_on_gpu();
  check_like_generate(model, one_model(model));
}

TEST_CASE("pieces come in order, whole characters each, and join to the text") {
  const auto model = shared_model();
  Engine engine(one_model(model));
  Request request = some_request(*model, 4);
  request.options.max_tokens = 40;
  RequestHandle handle = engine.submit(request);
  TextPiece whole;
  int64_t pieces = 0;
  while (const auto piece = handle.next()) {
    CHECK(whole.finish == Finish::kNone);
    whole.text += piece->text;
    whole.ids.insert(whole.ids.end(), piece->ids.begin(), piece->ids.end());
    whole.finish = piece->finish;
    ++pieces;
  }
  CHECK(handle.finished());
  CHECK_FALSE(handle.next(1ms));
  CHECK(pieces == 40);
  CHECK(whole.ids == generated(*model, request));
  CHECK(whole.text == text_of(LetterTokenizer(53), request.prompt, whole.ids));
}

TEST_CASE("a stop string ends a text wherever tokens part, and is no part of it") {
  const auto model = shared_model();
  const LetterTokenizer tokenizer(53);
  Engine engine(one_model(model));
  Request request = some_request(*model, 1);
  request.options.max_tokens = 30;
  const std::string text = text_of(tokenizer, request.prompt, generated(*model, request));
  REQUIRE(text.size() > 20);
  for (size_t begin : {size_t{0}, size_t{5}, size_t{11}}) {
    for (size_t size : {size_t{1}, size_t{4}, size_t{7}}) {
      const std::string stop = text.substr(begin, size);
      if ((static_cast<unsigned char>(stop[0]) & 0xC0) == 0x80) continue;  // within a character
      request.stop_strings = {"no such text", stop};
      const TextPiece piece = engine.submit(request).wait().texts[0];
      INFO(stop << " in " << text);
      CHECK(piece.text == text.substr(0, text.find(stop)));
      CHECK(piece.finish == Finish::kStop);
      CHECK(piece.stop_string == stop);
    }
  }
  request.stop_strings = {"no such text", text + "x"};
  const TextPiece piece = engine.submit(request).wait().texts[0];
  CHECK(piece.text == text);  // nothing of what could have become one is lost
  CHECK(piece.finish == Finish::kLength);
}

TEST_CASE("end tokens of the tokenizer end a text unless they are to be ignored") {
  const auto model = shared_model();
  Request request = some_request(*model, 3);
  request.options.max_tokens = 25;
  const Ids all = generated(*model, request);
  const int64_t end = all[10];
  const auto first = std::find(all.begin(), all.end(), end);
  Engine engine(one_model(model, 4, 96, {end}));
  const RequestResult ended = engine.submit(request).wait();
  CHECK(ended.texts[0].ids == Ids(all.begin(), first));
  CHECK(ended.texts[0].finish == Finish::kStop);
  CHECK(ended.texts[0].stop_string.empty());
  CHECK(ended.usage.completion_tokens == first - all.begin() + 1);
  CHECK(ended.texts[0].end_token == end);
  request.logprobs = 1;
  const TextPiece scored = engine.submit(request).wait().texts[0];
  REQUIRE(scored.logprobs.size() == scored.ids.size() + 1);
  CHECK(scored.logprobs.back().id == end);
  CHECK(scored.logprobs.back().top[0].first == end);  // greedy
  request.logprobs.reset();
  request.ignore_end_tokens = true;
  CHECK(engine.submit(request).wait().texts[0].ids == all);
  request.options.stop_tokens = {end};
  CHECK(engine.submit(request).wait().texts[0].ids == Ids(all.begin(), first));
}

TEST_CASE("n texts are sequences of one seed, and their prompt is run once") {
  const auto model = shared_model();
  Engine engine(one_model(model));
  Request request = some_request(*model, 7);
  request.texts = 4;
  request.options.max_tokens = 12;
  const RequestResult result = engine.submit(request).wait();
  REQUIRE(result.texts.size() == 4);
  for (uint64_t i = 0; i < 4; ++i) CHECK(result.texts[i].ids == generated(*model, request, i));
  CHECK(result.texts[0].ids != result.texts[1].ids);
  CHECK(result.usage.completion_tokens == 48);
  CHECK(engine.statistics().prompt_tokens == std::ssize(request.prompt));
  request.texts = 9;  // more than there are slots
  const RequestResult many = engine.submit(request).wait();
  for (uint64_t i = 0; i < 9; ++i) CHECK(many.texts[i].ids == generated(*model, request, i));
}

TEST_CASE("a text has max_tokens, or what its slot has room for") {
  const auto model = shared_model();
  Engine engine(one_model(model, 2, 20));
  Request request = some_request(*model, 3);
  request.options.max_tokens = 500;
  const TextPiece piece = engine.submit(request).wait().texts[0];
  CHECK(piece.finish == Finish::kLength);
  CHECK(std::ssize(piece.ids) == 20 - std::ssize(request.prompt));
  request.options.max_tokens = 0;
  const RequestResult none = engine.submit(request).wait();
  CHECK(none.texts[0].ids.empty());
  CHECK(none.texts[0].finish == Finish::kLength);
  CHECK(none.usage.completion_tokens == 0);
}

TEST_CASE("a long prompt is fed between the steps of other texts") {
  const auto model = shared_model();
  EngineOptions options = one_model(model, 2, 200);
  options.prompt_chunk = 10;
  Engine engine(options);
  Request talks = some_request(*model, 3), listens = talks;
  talks.options.max_tokens = 60;
  std::vector<int> order;
  std::promise<void> started;
  talks.on_piece = [&](const TextPiece&) {
    if (order.empty()) started.set_value();
    order.push_back(0);
  };
  listens.prompt.assign(100, 3);
  listens.options.max_tokens = 5;
  listens.on_piece = [&](const TextPiece&) { order.push_back(1); };
  RequestHandle first = engine.submit(talks);
  started.get_future().wait();
  const RequestResult second = engine.submit(listens).wait();
  first.wait();
  const auto begin = std::find(order.begin(), order.end(), 1);
  // Ten pieces, with a step of the other text after each but the last.
  CHECK(begin - order.begin() >= 9);
  CHECK(engine.statistics().prompt_tokens == 100 + std::ssize(talks.prompt));
}

TEST_CASE("prompts with one beginning are fed once: five times less and more") {
  const auto model = shared_model();
  EngineOptions options = one_model(model, 4, 400);
  options.prefix_bytes = int64_t{64} << 20;
  Engine engine(options);
  const Tensor system = random_tokens(model->config(), 1, 300, 5);
  std::vector<RequestHandle> handles;
  for (int64_t i = 0; i < 40; ++i) {
    Request request = some_request(*model, i);
    request.prompt.insert(request.prompt.begin(), system.const_data_ptr<int64_t>(),
                          system.const_data_ptr<int64_t>() + 300);
    handles.push_back(engine.submit(std::move(request)));
  }
  int64_t prompts = 0, reused = 0;
  for (RequestHandle& handle : handles) {
    const Usage usage = handle.wait().usage;
    prompts += usage.prompt_tokens;
    reused += usage.reused_tokens;
  }
  const EngineStatistics s = engine.statistics();
  CHECK(s.prompt_tokens + s.reused_tokens == prompts);
  CHECK(s.reused_tokens == reused);
  CHECK(s.prefix_hits == 39);
  CHECK(5 * s.prompt_tokens <= prompts);
}

TEST_CASE("several models of one engine are told apart by their names") {
  const auto a = shared_model(1), b = shared_model(2);
  EngineOptions options = one_model(a);
  options.models.push_back({.name = "other", .model = b, .slots = 2, .capacity = 64});
  Engine engine(options);
  CHECK(engine.models() == std::vector<std::string>{"tiny", "other"});
  Request request = some_request(*a, 5);
  const Ids want_a = generated(*a, request), want_b = generated(*b, request);
  REQUIRE(want_a != want_b);
  RequestHandle first = engine.submit(request);
  request.model = "other";
  const TextPiece second = engine.submit(request).wait().texts[0];
  CHECK(first.wait().texts[0].ids == want_a);
  CHECK(second.ids == want_b);
  CHECK(second.text.empty());  // no tokenizer
  CHECK(engine.statistics("other").finished == 1);
  CHECK(engine.statistics().finished == 2);
  CHECK(engine.statistics().slots == 6);
  CHECK_THROWS_NAMING(engine.statistics("third"), UnknownModel, "third");
}

TEST_CASE("what an engine takes is known before it starts") {
  const auto model = shared_model();
  EngineOptions options = one_model(model, 3, 50);
  options.prefix_bytes = 1000;
  options.models.push_back({.name = "again", .model = model, .slots = 1, .capacity = 10});
  const EngineBytes bytes = engine_bytes(options);
  const ModelConfig& c = model->config();
  CHECK(bytes.cache == 2 * c.layers * c.kv_heads * c.head_size * (3 * 50 + 10) * 4);
  CHECK(bytes.prefixes == 2000);
  int64_t weights = 0;
  for (const Tensor& weight : model->decoder().parameters())
    weights += static_cast<int64_t>(weight.nbytes());
  CHECK(bytes.weights == weights);  // of two names for one model once
  CHECK(bytes.total() == bytes.weights + bytes.cache + bytes.prefixes + bytes.work);
}

}  // namespace
}  // namespace slice
