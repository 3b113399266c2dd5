#include "libslice/evaluate/continuations.h"

#include <ATen/ATen.h>

#include <catch2/catch_all.hpp>
#include <random>

#include "libslice/base/error.h"
#include "libslice/checkpoint/model.h"
#include "libslice/text/tokenizer.h"
#include "tests/support/error_bounds.h"
#include "tests/support/group_decoder.h"
#include "tests/support/matchers.h"
#include "tests/support/random_ids.h"
#include "tests/support/ranks.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

using namespace tests;
using at::Tensor;

/// One forward pass over the whole text.
ContinuationScore score_reference(const Model& model, const Continuation& text) {
  std::vector<int64_t> ids = text.context;
  ids.insert(ids.end(), text.tokens.begin(), text.tokens.end());
  const int64_t context = model.config().context_length;
  if (static_cast<int64_t>(ids.size()) > context + 1)
    ids.erase(ids.begin(), ids.end() - context - 1);
  const Tensor tokens = at::tensor(ids, at::kLong).unsqueeze(0);
  const int64_t n = tokens.size(1);
  const Tensor p = model.decoder().forward(tokens.slice(1, 0, n - 1)).log_softmax(2)[0];
  ContinuationScore score;
  for (int64_t t = n - static_cast<int64_t>(text.tokens.size()); t < n; ++t) {
    score.log_likelihood += p[t - 1][ids[t]].item<double>();
    score.greedy = score.greedy && p[t - 1].argmax().item<int64_t>() == ids[t];
  }
  return score;
}

/// Questions of all kinds: common contexts, contexts that differ in their middle or from the first
/// token on, one choice, many, equal ones, longer than the model's context.
std::vector<std::vector<Continuation>> mixed_questions(const ModelConfig& config) {
  std::mt19937 random(7);
  const auto ids = [&](int64_t count) { return random_ids(random, count, config.vocabulary_size); };
  std::vector<std::vector<Continuation>> groups(1);  // and one without any
  for (const int64_t context : {1, 2, 9, 9, 9, 23, int(config.context_length) + 3}) {
    std::vector<Continuation>& group = groups.emplace_back();
    const std::vector<int64_t> begin = ids(context);
    for (const int64_t length : {1, 4, 2, 7}) group.push_back({begin, ids(length)});
    group.push_back(group.front());
    const std::vector<int64_t> end = ids(3);
    std::vector<Continuation>& other = groups.emplace_back();
    for (int choice = 0; choice < 2; ++choice) {
      other.push_back({begin, end});
      const std::vector<int64_t> middle = ids(1 + choice);
      other.back().context.insert(other.back().context.end(), middle.begin(), middle.end());
    }
    groups.push_back({{begin, end}});
    groups.push_back({{ids(2), end}, {ids(5), end}});
  }
  return groups;
}

}  // namespace

TEST_CASE("continuations score as one forward pass over each of them") {
  std::vector<ModelConfig> configs = tiny_families();
  configs.push_back(tiny_config());
  for (ModelConfig config : configs) {
    CAPTURE(describe(config));
    config.context_length = 40;
    if (config.learned_positions > 0) config.learned_positions = 40 + config.position_offset;
    const Model model = random_model(config);
    const auto groups = mixed_questions(config);
    const auto scores = score_continuations(model, groups);
    REQUIRE(scores.size() == groups.size());
    for (size_t i = 0; i < groups.size(); ++i) {
      REQUIRE(scores[i].size() == groups[i].size());
      for (size_t j = 0; j < groups[i].size(); ++j) {
        CAPTURE(i, j);
        const ContinuationScore wanted = score_reference(model, groups[i][j]);
        CHECK(std::abs(scores[i][j].log_likelihood / wanted.log_likelihood - 1) < kSameFunction);
        CHECK(scores[i][j].greedy == wanted.greedy);
      }
    }
  }
}

TEST_CASE("a model that is divided among processes scores as the whole") {
  for (ModelConfig config : tiny_families()) {
    CAPTURE(describe(config));
    config.context_length = 40;
    if (config.learned_positions > 0) config.learned_positions = 40 + config.position_offset;
    const TemporaryDirectory scratch;
    const std::string path = (scratch.path() / "model").string();
    save_model(random_model(config), path, {.dtype = at::kFloat});
    const Model whole = load_model(path, {.dtype = at::kDouble});
    const auto groups = mixed_questions(config);
    const auto want = score_continuations(whole, groups);
    for (const bool pipeline : {false, true}) {
      std::vector<std::vector<std::vector<ContinuationScore>>> found(2);
      const auto thrown = run_ranks(2, [&](const ProcessGroup& group) {
        found[group.rank()] = score_continuations(*group_decoder(path, pipeline, group), groups);
      });
      REQUIRE(thrown == std::vector<std::string>(2));
      for (const auto& scores : found)
        for (size_t i = 0; i < groups.size(); ++i) {
          REQUIRE(scores[i].size() == want[i].size());
          for (size_t j = 0; j < want[i].size(); ++j) {
            const double apart = scores[i][j].log_likelihood / want[i][j].log_likelihood - 1;
            CHECK(std::abs(apart) < kSameFunction);
            CHECK(scores[i][j].greedy == want[i][j].greedy);
          }
        }
    }
  }
}

TEST_CASE("processes that share the questions have the scores of one, to the bit") {
  ModelConfig config = tiny_config();
  config.context_length = 40;
  const Model model = random_model(config);
  const auto groups = mixed_questions(config);
  const auto alone = score_continuations(model, groups);
  for (const int64_t ranks : {2, 3}) {
    std::vector<std::vector<std::vector<ContinuationScore>>> shared(ranks);
    const auto thrown = run_ranks(ranks, [&](const ProcessGroup& group) {
      shared[group.rank()] = score_continuations(model, groups, {}, group);
    });
    REQUIRE(thrown == std::vector<std::string>(ranks));
    for (const auto& scores : shared)
      for (size_t i = 0; i < groups.size(); ++i) {
        REQUIRE(scores[i].size() == groups[i].size());
        for (size_t j = 0; j < groups[i].size(); ++j) {
          CHECK(scores[i][j].log_likelihood == alone[i][j].log_likelihood);
          CHECK(scores[i][j].greedy == alone[i][j].greedy);
        }
      }
  }
}

TEST_CASE("questions of more than one batch keep their order, and progress counts them") {
  const ModelConfig config = tiny_config();
  const Model model = random_model(config);
  std::mt19937 random(3);
  std::vector<std::vector<Continuation>> groups;
  for (int i = 0; i < 400; ++i) {
    const auto context = random_ids(random, 1 + i % 13, config.vocabulary_size);
    groups.push_back({{context, random_ids(random, 1 + i % 3, config.vocabulary_size)},
                      {context, random_ids(random, 2, config.vocabulary_size)}});
  }
  int64_t last = 0, calls = 0;
  const auto scores = score_continuations(model, groups, [&](const Progress& progress) {
    CHECK(progress.step > last);
    last = progress.step;
    CHECK(progress.steps == 400);
    ++calls;
  });
  CHECK(last == 400);
  CHECK(calls > 1);
  for (const size_t i : {0, 12, 13, 255, 399})
    CHECK(
        std::abs(scores[i][0].log_likelihood / score_reference(model, groups[i][0]).log_likelihood -
                 1) < kSameFunction);
}

TEST_CASE("the most likely token is greedy") {
  const ModelConfig config = tiny_config();
  const Model model = random_model(config);
  const Tensor prompt = random_tokens(config, 1, 5);
  std::vector<int64_t> context(prompt.data_ptr<int64_t>(), prompt.data_ptr<int64_t>() + 5);
  const int64_t next = model.decoder().forward(prompt)[0][4].argmax().item<int64_t>();
  const std::vector<std::vector<Continuation>> groups = {
      {{context, {next}}, {context, {next == 0 ? 1 : 0}}}};
  const auto scores = score_continuations(model, groups);
  CHECK(scores[0][0].greedy);
  CHECK(!scores[0][1].greedy);
}

TEST_CASE("continuations that cannot be scored are refused") {
  ModelConfig config = tiny_config();
  config.context_length = 8;
  const Model model = random_model(config);
  const auto score = [&](std::vector<int64_t> context, std::vector<int64_t> tokens) {
    const std::vector<std::vector<Continuation>> groups = {{{context, tokens}}};
    score_continuations(model, groups);
  };
  CHECK_THROWS_NAMING(score({}, {1}), ArgumentError, "at least one each");
  CHECK_THROWS_NAMING(score({1}, {}), ArgumentError, "at least one each");
  CHECK_THROWS_NAMING(score({1}, std::vector<int64_t>(9, 1)), ArgumentError, "context of 8");
  CHECK_THROWS_AS(score({config.vocabulary_size}, {1}), ArgumentError);
  CHECK_NOTHROW(score({1}, std::vector<int64_t>(8, 1)));
}

namespace {

/// A token a byte; id 256 begins a text.
class ByteTokenizer : public Tokenizer {
 public:
  explicit ByteTokenizer(bool adds_bos) : adds_bos_(adds_bos) {}
  std::vector<int64_t> encode(std::string_view text, bool) const override {
    std::vector<int64_t> ids;
    for (size_t i = 0; i < text.size(); ++i) {
      const bool pair = text.substr(i, 2) == ": ";  // one token across the usual cut
      ids.push_back(pair ? 257 : static_cast<unsigned char>(text[i]));
      if (pair) ++i;
    }
    return ids;
  }
  std::string decode(std::span<const int64_t>, bool) const override { return ""; }
  int64_t vocabulary_size() const override { return 258; }
  std::optional<int64_t> bos_token() const override { return 256; }
  std::vector<int64_t> eos_tokens() const override { return {}; }
  bool adds_bos() const override { return adds_bos_; }
  std::string chat_template() const override { return ""; }
  std::vector<File> files() const override { return {}; }

 private:
  bool adds_bos_;
};

using Ids = std::vector<int64_t>;

}  // namespace

TEST_CASE("a text is cut after as many tokens as its context has alone") {
  const ByteTokenizer plain(false), begun(true);
  Continuation cut = encode_continuation(plain, "a", " b");
  CHECK(cut.context == Ids{'a'});
  CHECK(cut.tokens == Ids{' ', 'b'});
  cut = encode_continuation(begun, "a", " b");
  CHECK(cut.context == Ids{256, 'a'});
  CHECK(cut.tokens == Ids{' ', 'b'});
  cut = encode_continuation(plain, "a: ", "b");  // the space goes to the continuation
  CHECK(cut.context == Ids{'a', ':'});
  CHECK(cut.tokens == Ids{'b'});
  cut = encode_continuation(plain, "", "b");
  CHECK(cut.context == Ids{256});
  CHECK(cut.tokens == Ids{'b'});
}

}  // namespace slice
