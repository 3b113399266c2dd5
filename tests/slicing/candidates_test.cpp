#include "libslice/slicing/candidates.h"

#include <fmt/core.h>

#include <algorithm>
#include <catch2/catch_all.hpp>
#include <ctime>

#include "libslice/base/error.h"
#include "libslice/checkpoint/output_form.h"
#include "libslice/checkpoint/stock.h"
#include "libslice/decode/memory.h"
#include "tests/support/matchers.h"
#include "tests/support/published_models.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

using namespace tests;

TEST_CASE("every candidate meets its budget, and with one step more of channels would not") {
  std::vector<ModelConfig> configs = tiny_configs();
  for (const ModelConfig& config : tiny_families()) configs.push_back(config);
  for (const ModelConfig& config : configs) {
    for (const bool blocks : {false, true}) {
      INFO(describe(config) << " blocks " << blocks);
      SliceOptions options{.round = 2};
      (blocks ? options.remove_blocks : options.remove) = 0.2;
      const ParameterCount dense = count_parameters(config);
      const auto size = [&](const ParameterCount& count) {
        return blocks ? count.blocks : count.total;
      };
      const double most = 0.8 * static_cast<double>(size(dense));
      const std::vector<Candidate> found = candidates(config, options);
      REQUIRE(!found.empty());
      CHECK(found.size() <= 17);
      for (const Candidate& candidate : found) {
        CHECK(static_cast<double>(size(candidate.after)) <= most);
        SliceOptions more = candidate_options(options, candidate);
        for (int64_t& width : more.ffn_sizes) width = std::min(width + 2, config.ffn_size);
        if (more.ffn_sizes == candidate.ffn_sizes) continue;
        CHECK(static_cast<double>(
                  size(count_parameters(written_config(planned_config(config, more))))) > most);
      }
    }
  }
}

TEST_CASE("a tied model keeps its tie where a head of its own would cost more than slicing gives") {
  ModelConfig config = tiny_config();
  config.tied_head = true;
  config.vocabulary_size = 5000;
  const std::vector<Candidate> found = candidates(config, {.round = 2, .remove = 0.02});
  REQUIRE(!found.empty());
  CHECK(found[0].kept == config.hidden_size);
  for (const Candidate& candidate : found) CHECK(candidate.tied);
}

TEST_CASE("of a tied model a budget of all parameters looks at plans with and without the tie") {
  ModelConfig config = tiny_config();
  config.tied_head = true;
  const auto tied = [&](const SliceOptions& options) {
    std::vector<bool> ties;
    for (const Candidate& candidate : candidates(config, options)) {
      CHECK((candidate.kept < config.hidden_size || candidate.tied));
      if (candidate.kept < config.hidden_size) ties.push_back(candidate.tied);
    }
    return ties;
  };
  const std::vector<bool> all = tied({.round = 2, .remove = 0.3});
  CHECK(std::count(all.begin(), all.end(), true) > 0);
  CHECK(std::count(all.begin(), all.end(), false) > 0);
  const std::vector<bool> blocks = tied({.round = 2, .remove_blocks = 0.3});
  CHECK(std::count(blocks.begin(), blocks.end(), true) == 0);
  const std::vector<bool> stock = tied({.round = 2, .head = HeadMode::kSlice, .remove = 0.3});
  CHECK(std::count(stock.begin(), stock.end(), true) == 0);
  const std::vector<bool> kept = tied({.round = 2, .keep_tie = true, .remove = 0.3});
  CHECK(std::count(kept.begin(), kept.end(), false) == 0);
}

TEST_CASE("a budget of the block weights chose a plan that stored more than the model") {
  ModelConfig config = tiny_config();
  config.tied_head = true;
  config.vocabulary_size = 500;
  const ParameterCount dense = count_parameters(config);
  const SliceOptions options{.round = 2, .remove_blocks = 0.1};
  for (const HeadMode head : {HeadMode::kKeep, HeadMode::kSlice}) {
    SliceOptions search = options;
    search.head = head;
    for (const Candidate& candidate : candidates(config, search)) {
      CHECK(candidate.after.total <= dense.total);
      CHECK(candidate.after.read <= dense.read);
    }
    SliceOptions asked{.kept = 22, .round = 2, .head = head};  // one of them, asked for by itself
    CHECK(count_parameters(planned_config(config, asked)).exceeds(dense));
  }
  // One that keeps the tie, with a map, reads more for a token.
  const SliceOptions keep{.round = 2, .keep_tie = true, .remove_blocks = 0.01};
  for (const Candidate& candidate : candidates(config, keep))
    CHECK_FALSE(candidate.after.exceeds(dense));
}

TEST_CASE("a budget out of reach says what the smallest plan and the dense model take") {
  const ModelConfig config = tiny_config();
  const int64_t dense = count_parameters(config).total;
  const auto told = [&](const SliceOptions& options) -> std::string {
    try {
      candidates(config, options);
    } catch (const ArgumentError& error) {
      return error.what();
    }
    return "";
  };
  const std::string fewer = told({.round = 2, .remove = 0.9});
  CAPTURE(fewer);
  const std::string mark = "the smallest plan tried keeps ";
  REQUIRE(fewer.find(mark) != std::string::npos);
  const int64_t smallest = std::stoll(fewer.substr(fewer.find(mark) + mark.size()));
  CHECK(fewer.find("of the dense model's " + std::to_string(dense) + " parameters") !=
        std::string::npos);
  // Just what it takes, and one parameter less.
  const auto share = [&](int64_t left) {
    return 1 - static_cast<double>(left) / static_cast<double>(dense);
  };
  CHECK(told({.round = 2, .remove = share(smallest) - 1e-9}).empty());
  CHECK_FALSE(told({.round = 2, .remove = share(smallest - 1)}).empty());
  const std::string smaller = told({.fit_bytes = int64_t{600} << 20});
  CAPTURE(smaller);
  const auto bytes = static_cast<double>(inference_bytes(config, 2, 2048, 1));
  const std::string takes = fmt::format("the dense model {:.1f} MiB", bytes / 0x1p20);
  for (const std::string& part : {std::string("600.0 MiB"), takes, std::string("1 x 2048 tokens"),
                                  std::string("of each, 700.0 MiB are CUDA's own")})
    CHECK(smaller.find(part) != std::string::npos);
}

/// A model of 7B, of one kind or another.
TEST_CASE("a search looks at stock plans and at free ones, and keeps the layout it is asked for") {
  for (const ModelConfig& dense : {tiny_config(), tiny_families()[0], tiny_families()[1],
                                   tiny_families()[2], tiny_families()[3]}) {
    INFO(tests::describe(dense));
    const SliceOptions options{.round = 2, .remove_blocks = 0.2};
    const std::vector<Candidate> all = candidates(dense, options);
    const OutputForm form = output_form(dense);
    int64_t stock = 0, sliced = 0;
    for (const Candidate& candidate : all) {
      const OutputForm runs =
          output_form(planned_config(dense, candidate_options(options, candidate)));
      CHECK(candidate.stock == loads_like(runs, form));
      CHECK((candidate.stock || !candidate.even));
      stock += candidate.stock ? 1 : 0;
      sliced += candidate.stock && candidate.kept < dense.hidden_size ? 1 : 0;
      CHECK(may_choose(options, candidate) == candidate.stock);
      SliceOptions free = options;
      free.layout = Layout::kFree;
      CHECK(may_choose(free, candidate));
    }
    CHECK(all.front().stock);
    CHECK(all.front().kept == dense.hidden_size);
    CHECK(stock < std::ssize(all));
    // A sliced OPT has no stock form, vLLM has none for a sliced Qwen2, nor llama.cpp for a Phi.
    CHECK((sliced > 0) == (dense.family == "llama" || dense.family == "mistral"));
  }
}

TEST_CASE("a budget that no stock plan reaches says that others do") {
  const ModelConfig opt = tiny_families()[2];
  const auto blocks = static_cast<double>(count_parameters(opt).blocks);
  const std::vector<int64_t> fewest(opt.layers, 8);  // a sixth of the channels, in twos
  const double stock = static_cast<double>(
      count_parameters(planned_config(opt, {.slice = 0, .ffn_sizes = fewest})).blocks);
  SliceOptions options{.round = 2, .remove_blocks = 1 - stock / blocks + 0.01};
  CHECK_THROWS_NAMING(candidates(opt, options), ArgumentError, "layout 'free'");
  options.layout = Layout::kFree;
  CHECK(!candidates(opt, options).empty());
}

TEST_CASE("plans had any number of channels, and stock LayerNorm models an odd hidden size") {
  ModelConfig phi = tiny_families()[3];
  phi.hidden_size = 256;
  phi.ffn_size = 1024;
  ModelConfig biased = llama2_7b();
  biased.qkv_bias = biased.output_bias = true;
  biased.heads = biased.kv_heads = 24;  // lcm(8, 24)
  struct Row {
    ModelConfig config;
    int64_t kept, wide, narrow;
  };
  for (const Row& row : std::vector<Row>{{smollm2_135m(), 32, 32, 32},
                                         {llama2_7b(), 32, 256, 32},
                                         {phi, 32, 32, 32},
                                         {biased, 24, 256, 32}}) {
    const int64_t mean = row.config.norm == NormKind::kLayer ? 1 : 0;
    const double whole = static_cast<double>(count_parameters(row.config).blocks);
    for (const double fraction : {0.1, 0.2, 0.25, 0.3}) {
      INFO(tests::describe(row.config) << " " << fraction);
      for (const Candidate& c : candidates(row.config, {.remove_blocks = fraction})) {
        const int64_t unit = c.even ? row.kept : 32;
        if (c.kept < row.config.hidden_size) CHECK((c.kept + (c.even ? mean : 0)) % unit == 0);
        const auto blocks = static_cast<double>(c.after.blocks);
        CHECK(blocks <= (1 - fraction) * whole);
        const bool used_up = blocks > (0.99 - fraction) * whole;
        for (const int64_t width : c.ffn_sizes) {
          if (width == row.config.ffn_size) continue;
          CHECK(width % row.narrow == 0);
          CHECK((used_up || width % row.wide != 0 || row.wide == row.narrow));
          if (!c.even) CHECK(width % row.wide == 0);
        }
      }
    }
  }
  for (const Candidate& c : candidates(smollm2_135m(), {.round = 8, .remove = 0.1}))
    CHECK((c.kept % 8 == 0 && c.channels() % 8 == 0));
}

TEST_CASE("candidates of a budget in memory took a quarter of an hour for a model of 70B") {
  const ModelConfig config = llama2_70b();
  const std::clock_t begin = std::clock();
  const std::vector<Candidate> found = candidates(config, {.fit_bytes = int64_t{100} << 30});
  const double seconds = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
  INFO(seconds << " s of the processor");
  CHECK(found.size() > 1);
  CHECK(seconds < 4);
}

}  // namespace
}  // namespace slice
