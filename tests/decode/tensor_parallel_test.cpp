#include "libslice/decode/tensor_parallel.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <catch2/catch_all.hpp>
#include <functional>

#include "libslice/base/error.h"
#include "libslice/checkpoint/checkpoint.h"
#include "libslice/decode/generator.h"
#include "libslice/slicing/slice_model.h"
#include "tests/support/error_bounds.h"
#include "tests/support/matchers.h"
#include "tests/support/ranks.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

using at::Tensor;
using namespace tests;

/// Feeds a text in two pieces and continues it, alone and as `ranks` ranks.
void check_same(const Model& model, int64_t ranks, at::ScalarType dtype = at::kFloat) {
  const TemporaryDirectory scratch;
  const std::string path = (scratch.path() / "model").string();
  save_model(model, path, {.dtype = at::kFloat});
  const Model whole = load_model(path, {.dtype = dtype});
  const Tensor tokens = random_tokens(whole.config(), 2, 9, 7);
  Generator generator(whole, 24, 2);
  generator.feed(tokens.slice(1, 0, 5));
  const Tensor want = generator.feed(tokens.slice(1, 5)),  // (2, V)
      continued = generator.continue_greedy(10);           // (2, 10)
  std::vector<Tensor> logits(ranks), ids(ranks);
  std::vector<int64_t> held(ranks), lengths(ranks), refused(ranks);
  const auto thrown = run_ranks(ranks, [&](const ProcessGroup& group) {
    const auto checkpoint = open_checkpoint(path);
    TensorParallel decoder(*checkpoint, group, {.dtype = dtype, .capacity = 24, .batch = 2});
    decoder.feed(tokens.slice(1, 0, 5));
    logits[group.rank()] = decoder.feed(tokens.slice(1, 5));
    ids[group.rank()] = decoder.continue_greedy(10);
    held[group.rank()] = decoder.parameters();
    lengths[group.rank()] = decoder.length();
    for (const auto& too_much : {std::function<void()>([&] { decoder.feed(tokens); }),
                                 std::function<void()>([&] { decoder.continue_greedy(6); })}) {
      try {
        too_much();  // 19 positions and 9 or 6
      } catch (const ArgumentError&) {
        ++refused[group.rank()];
      }
    }
  });
  REQUIRE(thrown == std::vector<std::string>(ranks));
  CHECK(lengths == std::vector<int64_t>(ranks, 19));
  CHECK(refused == std::vector<int64_t>(ranks, 2));
  CHECK(relative_difference(logits[0], want) < network_allowance(whole.config(), dtype));
  if (dtype == at::kFloat) CHECK(at::equal(ids[0], continued));
  for (int64_t rank = 1; rank < ranks; ++rank) {
    CHECK(bit_difference(logits[rank], logits[0]) == "");
    CHECK(at::equal(ids[rank], ids[0]));
  }
  int64_t all = 0;
  for (const auto& parameter : whole.decoder().named_parameters()) all += parameter.value().numel();
  CHECK(*std::ranges::max_element(held) < all);
}

TEST_CASE("two and three ranks of tensor parallel write the tokens of one, for every family") {
  for (const ModelConfig& config : tiny_families()) {
    INFO(describe(config));
    check_same(random_model(config), 2);
    check_same(random_model(config), 3);
  }
  for (const ModelConfig& config : tiny_configs()) {  // three: more than most have key heads
    INFO(describe(config));
    check_same(random_model(config), 3);
  }
}

TEST_CASE("tensor parallel refuses mixtures of experts by name") {
  const TemporaryDirectory scratch;
  save_model(random_model(tiny_families_with_experts()[0]), scratch.path() / "m",
             {.dtype = at::kFloat});
  const auto checkpoint = open_checkpoint(scratch.path() / "m");
  CHECK_THROWS_NAMING(TensorParallel(*checkpoint, ProcessGroup()), ArgumentError,
                      "mixtures of experts are not supported");
}

TEST_CASE("tensor parallel of a sliced model, whatever its shortcuts") {
  for (ModelConfig config : {tiny_config(), tiny_families()[2], tiny_families()[3]}) {
    config.layers = 3;
    const int64_t F = config.ffn_size;
    for (const ShortcutForm form : {ShortcutForm::kNone, ShortcutForm::kDiagonal,
                                    ShortcutForm::kLowRank, ShortcutForm::kDense}) {
      INFO(describe(config) << " " << shortcut_name(form));
      Model model = random_model(config);
      slice_model(model, random_tokens(config, 9, 16),
                  {.slice = 0.3,
                   .round = 2,
                   .keep_tie = config.tied_head,
                   .shortcut = form,
                   .shortcut_rank = 3,
                   .ffn_sizes = {F, F - 8, F - 15}});
      check_same(model, form == ShortcutForm::kDense ? 3 : 2);
    }
  }
}

TEST_CASE("tensor parallel in half precision gives every rank the same bits") {
  check_same(random_model(tiny_config()), 3, at::kBFloat16);
}

TEST_CASE("a rank of tensor parallel alone is the model") {
  const TemporaryDirectory scratch;
  save_model(random_model(tiny_config()), scratch.path() / "model", {.dtype = at::kFloat});
  const auto checkpoint = open_checkpoint(scratch.path() / "model");
  const Tensor tokens = random_tokens(tiny_config(), 1, 9, 7);
  TensorParallel decoder(*checkpoint, ProcessGroup());
  Generator generator(load_model(scratch.path() / "model"), 9);
  CHECK(bit_difference(decoder.feed(tokens), generator.feed(tokens)) == "");
  CHECK_THROWS_AS(TensorParallel(*checkpoint, ProcessGroup()).continue_greedy(1), ArgumentError);
}

TEST_CASE("heads are dealt out so that no rank has queries of two key heads and one of them half") {
  ModelConfig config = tiny_config();
  for (const auto& [heads, kv_heads] :
       {std::pair(64, 8), std::pair(12, 12), std::pair(12, 4), std::pair(9, 3), std::pair(8, 1)}) {
    config.heads = heads;
    config.kv_heads = kv_heads;
    const int64_t queries = heads / kv_heads;
    for (int64_t ranks = 1; ranks <= heads; ++ranks) {
      INFO(describe(config) << ", " << ranks << " ranks");
      int64_t next = 0, most = 0, least = heads;
      for (int64_t rank = 0; rank < ranks; ++rank) {
        const auto [own, keys] = split_heads(config, ranks, rank);
        CHECK(own.first == next);
        CHECK(own.second > own.first);
        CHECK(keys.first == own.first / queries);
        CHECK(keys.second == (own.second - 1) / queries + 1);
        CHECK((own.second - own.first) % (keys.second - keys.first) == 0);
        if (keys.second - keys.first > 1)
          CHECK(own.second - own.first == queries * (keys.second - keys.first));
        next = own.second;
        most = std::max(most, own.second - own.first);
        least = std::min(least, own.second - own.first);
      }
      CHECK(next == heads);
      CHECK(most - least <= queries);
    }
    CHECK_THROWS_AS(split_heads(config, heads + 1, 0), ArgumentError);
    CHECK_THROWS_AS(split_heads(config, 2, 2), ArgumentError);
  }
}

TEST_CASE("a model too narrow for the ranks is refused on each of them") {
  const TemporaryDirectory scratch;
  ModelConfig few_heads = tiny_config(), few_channels = few_heads;
  few_heads.heads = few_heads.kv_heads = 1;
  few_channels.ffn_size = 1;
  for (const auto& [config, words] :
       {std::pair(few_heads, "query heads"), std::pair(few_channels, "feed-forward channels")}) {
    const std::string path = (scratch.path() / words).string();
    save_model(random_model(config), path, {.dtype = at::kFloat});
    for (const std::string& thrown : run_ranks(2, [&, &p = path](const ProcessGroup& group) {
           TensorParallel(*open_checkpoint(p), group);
         })) {
      CHECK(thrown.find(words) != std::string::npos);
    }
  }
}

TEST_CASE("a rank of tensor parallel that ends is an error of the others") {
  const TemporaryDirectory scratch;
  const std::string path = (scratch.path() / "model").string();
  save_model(random_model(tiny_config()), path, {.dtype = at::kFloat});
  const auto thrown = run_ranks(3, [&](const ProcessGroup& group) {
    TensorParallel decoder(*open_checkpoint(path), group);
    decoder.feed(random_tokens(tiny_config(), 1, 4));
    if (group.rank() == 1) throw Error("enough");
    decoder.continue_greedy(3);
  });
  CHECK(thrown[1] == "enough");
  for (const int64_t rank : {0, 2}) {
    INFO(thrown[rank]);
    CHECK(thrown[rank].find("lost contact with another rank") != std::string::npos);
  }
}

}  // namespace
}  // namespace slice
