// What an Engine shows of logits, and what changes them.

#include <ATen/ATen.h>

#include <catch2/catch_all.hpp>
#include <cmath>
#include <set>

#include "libslice/decode/engine.h"
#include "libslice/model/decoder.h"
#include "tests/support/engine_models.h"
#include "tests/support/require_gpu.h"

namespace slice {
namespace {

using at::Tensor;
using namespace tests;
using Ids = std::vector<int64_t>;

/// Against the model's own logits: logs of the softmax of the tokens after `first` − 1 others.
void check_logprobs(const Model& model, const Ids& ids, int64_t first,
                    const std::vector<TokenLogprobs>& logprobs, int64_t top) {
  const at::NoGradGuard no_grad;
  const Tensor logits =
      model.decoder().forward(at::tensor(ids, at::kLong).unsqueeze(0))[0].to(at::kDouble);
  const Tensor want = at::log_softmax(logits, -1);  // (T, V)
  REQUIRE(std::ssize(logprobs) == std::ssize(ids) - first);
  for (int64_t i = first; i < std::ssize(ids); ++i) {
    const TokenLogprobs& got = logprobs[static_cast<size_t>(i - first)];
    const auto near = [&](int64_t id, double value) {
      return std::abs(want[i - 1][id].item<double>() - value) < 1e-4;  // of float32 logits below 20
    };
    CHECK(got.id == ids[static_cast<size_t>(i)]);
    CHECK(near(got.id, got.logprob));
    REQUIRE(std::ssize(got.top) == top);
    for (int64_t k = 0; k < top; ++k) {
      CHECK(near(got.top[k].first, got.top[k].second));
      if (k > 0) CHECK(got.top[k].second <= got.top[k - 1].second);
    }
    if (top > 0) CHECK(near(got.top[0].first, want[i - 1].max().item<double>()));
  }
}

void check_all_logprobs(const std::shared_ptr<const Model>& model) {
  EngineOptions options = one_model(model);
  options.prompt_chunk = 4;
  options.prefix_bytes = 1 << 20;
  Engine engine(options);
  for (const int64_t top : {0, 3}) {
    Request request = some_request(*model, 16);
    request.options.max_tokens = 8;
    request.logprobs = request.prompt_logprobs = top;
    request.rules.bias = {{5, 3}};
    request.texts = 2;
    const RequestResult result = engine.submit(request).wait();
    for (const TextPiece& text : result.texts) {
      Ids all = request.prompt;
      all.insert(all.end(), text.ids.begin(), text.ids.end());
      check_logprobs(*model, all, std::ssize(request.prompt), text.logprobs, top);
    }
    check_logprobs(*model, request.prompt, 1, result.texts[0].prompt_logprobs, top);
    CHECK(result.texts[1].prompt_logprobs.empty());
    request.options.max_tokens = 0;
    request.texts = 1;
    const RequestResult scores = engine.submit(request).wait();
    check_logprobs(*model, request.prompt, 1, scores.texts[0].prompt_logprobs, top);
  }
}

TEST_CASE("log-probabilities of prompt and text are the model's, whatever rules say") {
  check_all_logprobs(shared_model());
}

TEST_CASE("on a GPU log-probabilities of prompt and text are the model's", "[cuda]") {
  require_gpu();
  check_all_logprobs(model_on_gpu());
}

TEST_CASE("looking at log-probabilities changes no text") {
  const auto model = shared_model();
  Engine engine(one_model(model));
  Request request = some_request(*model, 4);
  request.options.max_tokens = 20;
  request.logprobs = 2;
  CHECK(engine.submit(request).wait().texts[0].ids == generated(*model, request));
}

void check_rules_and_constraint(const std::shared_ptr<const Model>& model) {
  Engine engine(one_model(model));
  Request request = some_request(*model, 8);
  request.options.max_tokens = 10;
  request.rules.bias = {{7, 1000}};
  CHECK(engine.submit(request).wait().texts[0].ids == Ids(10, 7));
  request.rules.frequency_penalty = 5000;  // each token once
  request.rules.bias = {{7, 1000}, {8, 900}};
  const Ids once = engine.submit(request).wait().texts[0].ids;
  CHECK(once[0] == 7);
  CHECK(once[1] == 8);
  CHECK(std::set<int64_t>(once.begin(), once.end()).size() == 10);
  // A constraint comes before top-k, and sees what its own text has.
  request.rules = {.top_k = 1};
  request.texts = 2;
  request.constraint = [](int64_t index, std::span<const int64_t> written, Tensor& logits) {
    const Tensor allowed = at::zeros({logits.size(0)}, at::kBool);
    allowed[10 * index + std::ssize(written)] = true;
    allow_only_inplace(logits, allowed);
  };
  request.options.sampling.temperature = 1;
  const RequestResult result = engine.submit(request).wait();
  CHECK(result.texts[0].ids == Ids{0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
  CHECK(result.texts[1].ids == Ids{10, 11, 12, 13, 14, 15, 16, 17, 18, 19});
}

TEST_CASE("rules and a constraint decide what comes") {
  check_rules_and_constraint(shared_model());
}

TEST_CASE("on a GPU rules and a constraint decide what comes", "[cuda]") {
  require_gpu();
  check_rules_and_constraint(model_on_gpu());
}

}  // namespace
}  // namespace slice
