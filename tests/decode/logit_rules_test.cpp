#include "libslice/decode/logit_rules.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <catch2/catch_all.hpp>
#include <cmath>

#include "libslice/base/error.h"
#include "libslice/decode/sampling.h"
#include "tests/support/matchers.h"
#include "tests/support/require_gpu.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

using at::Tensor;
using namespace tests;
using Row = std::vector<double>;

constexpr int64_t kVocabulary = 97;

Row numbers(const Tensor& tensor) {
  const Tensor host = tensor.to(at::kCPU, at::kDouble).contiguous();
  return {host.const_data_ptr<double>(), host.const_data_ptr<double>() + host.numel()};
}

/// The formulas of logit_rules.h, one after the other.
Row expected(Row l, const LogitRules& rules, const std::vector<int64_t>& prompt,
             const std::vector<int64_t>& written, double temperature, double lowest) {
  for (const auto& [id, bias] : rules.bias) l[id] += bias;
  for (int64_t id = 0; id < std::ssize(l); ++id) {
    const auto count = std::count(written.begin(), written.end(), id);
    const bool seen = count > 0 || std::count(prompt.begin(), prompt.end(), id) > 0;
    if (seen)
      l[id] = l[id] > 0 ? l[id] / rules.repetition_penalty : l[id] * rules.repetition_penalty;
    l[id] -= rules.frequency_penalty * static_cast<double>(count);
    if (count > 0) l[id] -= rules.presence_penalty;
  }
  if (temperature == 0) return l;
  const double most = *std::max_element(l.begin(), l.end());
  for (double& x : l)
    if (std::exp((x - most) / temperature) < rules.min_p) x = lowest;
  Row sorted = l;
  std::sort(sorted.rbegin(), sorted.rend());
  if (rules.top_k > 0 && rules.top_k < std::ssize(l))
    for (double& x : l)
      if (x < sorted[rules.top_k - 1]) x = lowest;
  return l;
}

std::vector<LogitRules> some_rules() {
  return {{},
          {.bias = {{3, 2.5}, {40, -7}, {96, 100}}},
          {.repetition_penalty = 1.3},
          {.presence_penalty = 0.7, .frequency_penalty = 0.4},
          {.presence_penalty = -1.5, .min_p = 0.3},
          {.min_p = 0.05},
          {.top_k = 1},
          {.top_k = 10},
          {.top_k = 500},
          {.bias = {{5, 1}},
           .repetition_penalty = 0.8,
           .presence_penalty = 0.5,
           .frequency_penalty = 0.25,
           .min_p = 0.01,
           .top_k = 20}};
}

void check_against_formulas(at::Device device, at::ScalarType dtype) {
  const std::vector<int64_t> prompt = {1, 17, 5, 17, 96}, written = {5, 5, 60, 3, 0, 5};
  TokenCounts counts(prompt);
  for (const int64_t id : written) counts.push(id);
  for (const LogitRules& rules : some_rules()) {
    for (const double temperature : {0.0, 0.7, 1.5}) {
      const Tensor given = gaussian({kVocabulary}, 7).mul(3).to(device, dtype);
      const Row want =
          expected(numbers(given), rules, prompt, written, temperature, lowest_logit(dtype));
      Tensor logits = given.clone();
      penalize_inplace(logits, rules, counts);
      truncate_inplace(logits, rules, temperature);
      const Row got = numbers(logits);
      // Four operations in float32 at least, of numbers up to |want| + 16, and one rounding.
      const double eps = std::max<double>(std::pow(2.0, -24), [&] {
        if (dtype == at::kHalf) return std::pow(2.0, -11);
        if (dtype == at::kBFloat16) return std::pow(2.0, -8);
        return 0.0;
      }());
      for (int64_t id = 0; id < kVocabulary; ++id) {
        INFO("id " << id << " of " << given[id].item<double>());
        if (want[id] == lowest_logit(dtype)) {
          CHECK(got[id] == want[id]);
        } else {
          CHECK(std::abs(got[id] - want[id]) <= 5 * eps * (std::abs(want[id]) + 16));
        }
      }
    }
  }
}

}  // namespace

TEST_CASE("rules change logits as their formulas say") {
  check_against_formulas(at::kCPU, at::kFloat);
  check_against_formulas(at::kCPU, at::kDouble);
}

TEST_CASE("rules that say nothing change no bit") {
  Tensor logits = gaussian({kVocabulary}, 3).to(at::kFloat);
  const Tensor before = logits.clone();
  CHECK_FALSE(LogitRules().any());
  penalize_inplace(logits, {}, TokenCounts(std::vector<int64_t>{1, 2}));
  truncate_inplace(logits, {}, 1);
  CHECK(logits.equal(before));
}

TEST_CASE("a token that is out is never sampled, and keeps a finite logit in every type") {
  for (const at::ScalarType type : {at::kHalf, at::kBFloat16, at::kFloat, at::kDouble}) {
    Tensor logits = at::zeros({5}, type);
    Tensor allowed = at::zeros({5}, at::kBool);
    allowed[3] = true;
    allow_only_inplace(logits, allowed);
    CHECK(logits.isfinite().all().item<bool>());
    for (int64_t position = 0; position < 20; ++position)
      CHECK(sample_token(logits, {.temperature = 2}, {.position = position}) == 3);
    // A penalty on top keeps it finite.
    penalize_inplace(logits, {.repetition_penalty = 4}, TokenCounts(std::vector<int64_t>{0, 1, 2}));
    CHECK(logits.to(at::kFloat).isfinite().all().item<bool>());
  }
  CHECK_THROWS_AS(allow_only_inplace(at::zeros({5}), at::ones({4}, at::kBool)), ShapeError);
}

TEST_CASE("top-k keeps ties with the last one, and min-p 1 the likeliest alone") {
  Tensor logits = at::tensor({1.0, 3.0, 2.0, 2.0, 0.0});
  truncate_inplace(logits, {.top_k = 2}, 1);
  CHECK(numbers(logits > -100) == Row{0, 1, 1, 1, 0});
  logits = at::tensor({1.0, 3.0, 2.0, 3.0, 0.0});
  truncate_inplace(logits, {.min_p = 1}, 0.5);
  CHECK(numbers(logits > -100) == Row{0, 1, 0, 1, 0});
}

TEST_CASE("bad rules are refused by name") {
  CHECK_THROWS_NAMING(check_rules({.bias = {{97, 1}}}, 97), ArgumentError, "logit bias");
  CHECK_THROWS_NAMING(check_rules({.bias = {{-1, 1}}}, 97), ArgumentError, "logit bias");
  CHECK_THROWS_NAMING(check_rules({.bias = {{1, NAN}}}, 97), ArgumentError, "logit bias");
  CHECK_THROWS_NAMING(check_rules({.repetition_penalty = 0}, 97), ArgumentError, "repetition");
  CHECK_THROWS_NAMING(check_rules({.presence_penalty = INFINITY}, 97), ArgumentError, "presence");
  CHECK_THROWS_NAMING(check_rules({.frequency_penalty = NAN}, 97), ArgumentError, "frequency");
  CHECK_THROWS_NAMING(check_rules({.min_p = 1.5}, 97), ArgumentError, "min-p");
  CHECK_THROWS_NAMING(check_rules({.top_k = -1}, 97), ArgumentError, "top-k");
  CHECK_NOTHROW(check_rules({}, 97));
}

TEST_CASE("on a GPU rules change logits as their formulas say", "[cuda]") {
  require_gpu();
  for (const at::ScalarType type : {at::kFloat, at::kHalf, at::kBFloat16})
    check_against_formulas(at::kCUDA, type);
}

}  // namespace slice
