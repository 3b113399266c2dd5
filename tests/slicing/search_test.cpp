#include "libslice/slicing/search.h"

#include <ATen/ATen.h>
#include <c10/util/accumulate.h>

#include <catch2/catch_all.hpp>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "libslice/base/error.h"
#include "libslice/checkpoint/model.h"
#include "libslice/checkpoint/stock.h"
#include "libslice/decode/memory.h"
#include "libslice/method/gradient.h"
#include "libslice/model/decoder.h"
#include "libslice/slicing/detail/refit_model.h"
#include "libslice/slicing/slice_model.h"
#include "tests/support/matchers.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

using at::Tensor;
using namespace tests;

TEST_CASE("a search removes what it was asked to, and reports what it did not take") {
  const ModelConfig config = tiny_config();
  Model model = random_model(config);
  const SliceReport report =
      slice_model(model, random_tokens(config, 16, 16), {.round = 2, .remove_blocks = 0.2});
  CHECK(report.after.blocks <= 0.8 * static_cast<double>(report.before.blocks));
  REQUIRE(report.candidates.size() > 1);
  for (size_t i = 2; i < report.candidates.size(); ++i)
    CHECK(*report.candidates[i - 1].loss <= *report.candidates[i].loss);
  CHECK(report.candidates[0].kept == report.stream_sizes[0]);
  CHECK(report.candidates[0].after.blocks == report.after.blocks);
}

TEST_CASE("a search takes the best stock plan, or the best of all, and tells the losses of both") {
  const ModelConfig config = tiny_config();
  const Tensor tokens = random_tokens(config, 16, 16);
  for (const Layout layout : {Layout::kStock, Layout::kFree}) {
    CAPTURE(layout == Layout::kFree);
    Model model = random_model(config);
    const SliceReport report =
        slice_model(model, tokens, {.round = 2, .remove_blocks = 0.2, .layout = layout});
    const auto& tried = report.candidates;
    double stock = std::numeric_limits<double>::infinity(), all = stock;
    for (const Candidate& candidate : tried) {
      all = std::min(all, *candidate.loss);
      if (candidate.stock) stock = std::min(stock, *candidate.loss);
    }
    CHECK(*tried[0].loss == (layout == Layout::kFree ? all : stock));
    CHECK(report.form.stock == tried[0].stock);
    if (layout == Layout::kStock) CHECK(report.form.stock);
    CHECK(report.ffn_sizes == tried[0].ffn_sizes);
    const auto json = nlohmann::json::parse(report_json(report));
    CHECK(json["plan"]["losses"] == nlohmann::json({{"stock", stock}, {"free", all}}));
    CHECK(json["plan"]["rejected"].size() + 1 == tried.size());
  }
}

TEST_CASE("a plan's loss is that of a trial on 32 of the windows") {
  const ModelConfig config = tiny_config();
  const CalibrationWindows windows(random_tokens(config, 64, 16));
  const SliceOptions options{.round = 2, .remove_blocks = 0.2};
  Model model = random_model(config);
  const Model dense = random_model(config);
  const SliceReport report = slice_model(model, windows, options);
  ModelAdapter adapter = dense.decoder().adapter();
  const auto gammas =
      gradient_covariances(adapter, gradient_windows(windows, options), options.seed);
  REQUIRE(report.candidates.size() > 2);
  for (const Candidate& c : report.candidates) {
    CAPTURE(c.kept, c.even);
    CHECK(*c.loss ==
          refit_trial(adapter, windows.trial(32), candidate_options(options, c), gammas));
  }
}

TEST_CASE("a search with the head sliced keeps as many channels in every layer") {
  const ModelConfig config = tiny_config();
  Model model = random_model(config);
  slice_model(model, random_tokens(config, 16, 16),
              {.round = 2, .head = HeadMode::kSlice, .remove_blocks = 0.2});
  CHECK(model.config().ffn_sizes.empty());
}

TEST_CASE("a model of uneven widths was searched as if every layer had the widest's") {
  ModelConfig config = tiny_config();
  config.layers = 3;
  const std::vector<int64_t> widths = {30, 19, 33};
  config = narrowed_config(config, widths);  // its ffn_size is 38 still
  for (const HeadMode head : {HeadMode::kKeep, HeadMode::kSlice}) {
    for (const double fraction : {0.02, 0.1, 0.25}) {
      const bool stock = head == HeadMode::kSlice;
      CAPTURE(stock, fraction);
      const SliceOptions options{.round = 2,
                                 .head = head,
                                 .remove_blocks = fraction,
                                 .layout = stock ? Layout::kStock : Layout::kFree};
      const double most = (1 - fraction) * static_cast<double>(count_parameters(config).blocks);
      const int64_t all = stock ? 3 * 19 : 30 + 19 + 33;
      const std::vector<Candidate> found = candidates(config, options);
      REQUIRE(!found.empty());
      for (const Candidate& candidate : found) {
        CHECK(candidate.channels() <= all);
        CHECK(static_cast<double>(candidate.after.blocks) <= most);
      }
      // Two channels of the dense model's hidden size are six rows of D.
      for (const Candidate& c : found)
        if (!c.even && c.kept == config.hidden_size)
          CHECK(static_cast<double>(c.after.blocks + 6 * config.hidden_size) > most);
      Model model = random_model(config);
      const SliceReport report = slice_model(model, random_tokens(config, 16, 16), options);
      CHECK(static_cast<double>(report.after.blocks) <= most);
      CHECK(report.after.blocks == count_parameters(written_config(model.config())).blocks);
      for (int64_t layer = 0; layer < 3; ++layer)
        CHECK(model.config().ffn_width(layer) <= widths[layer]);
      if (stock) CHECK(model.config().ffn_sizes.empty());
    }
  }
}

/// Numbers that saving stores.
int64_t stored_numbers(const Model& model) {
  const TemporaryDirectory directory;
  save_model(model, directory.path() / "m", {.dtype = at::kFloat});
  const auto checkpoint = open_checkpoint(directory.path() / "m");
  int64_t numbers = 0;
  for (const auto& [name, entry] : checkpoint->tensors())
    numbers += c10::multiply_integers(entry.shape);
  return numbers;
}

TEST_CASE("sizes of a stock form were those of another, and its file went over the budget") {
  for (const ModelConfig& config : {tiny_config(), tiny_families()[0], tiny_families()[3]}) {
    CAPTURE(tests::describe(config));
    const double whole = static_cast<double>(count_parameters(config).total);
    const int64_t memory = inference_bytes(config, 2, 64, 1) - 2000;
    for (const SliceOptions& options :
         {SliceOptions{.round = 8, .head = HeadMode::kSlice, .remove = 0.15},
          SliceOptions{
              .round = 8, .head = HeadMode::kSlice, .fit_bytes = memory, .fit_context = 64}}) {
      Model model = random_model(config);
      const SliceReport report = slice_model(model, random_tokens(config, 16, 16), options);
      const ModelConfig form = written_config(model.config());
      CHECK_FALSE(form.sliced());
      CHECK(form.hidden_size % 8 == 0);  // of a LayerNorm's too
      CHECK(report.after.total == stored_numbers(model));
      for (const Candidate& candidate : report.candidates) {
        if (options.remove) CHECK(static_cast<double>(candidate.after.total) <= 0.85 * whole);
      }
      CHECK(report.candidates[0].after.total == report.after.total);
      if (options.fit_bytes) CHECK(inference_bytes(form, 2, 64, 1) <= memory);
    }
  }
}

TEST_CASE("a search tells its progress and an estimate, and can be stopped in every phase") {
  const ModelConfig config = tiny_config();
  const Tensor tokens = random_tokens(config, 16, 16);
  const SliceOptions options{.round = 2, .remove_blocks = 0.2};
  std::vector<Progress> words;
  Model model = random_model(config);
  const SliceReport report = slice_model(model, tokens, options, [&](const Progress& p) {
    CHECK(p.step <= p.steps);
    CHECK(p.eta >= 0);
    CHECK(std::isfinite(p.eta));
    if (!words.empty() && words.back().phase == p.phase) {
      CHECK(p.step >= words.back().step);
      CHECK(p.steps == words.back().steps);
    }
    words.push_back(p);
  });
  std::vector<std::string> phases;
  for (const Progress& p : words) {
    if (phases.empty() || phases.back() != p.phase) phases.push_back(p.phase);
  }
  CHECK(phases == std::vector<std::string>{"gradients", "channels", "search", "slice"});
  CHECK(words.back().step == words.back().steps);
  CHECK(report.gradient_seconds > 0);
  CHECK(report.search_seconds > 0);
  CHECK(report.total_seconds >= report.search_seconds + report.gradient_seconds);

  for (const std::string& phase : phases) {
    CAPTURE(phase);
    Model other = random_model(config);
    const auto before = other.decoder().parameters();
    std::vector<Tensor> values;
    for (const Tensor& parameter : before) values.push_back(parameter.clone());
    int64_t heard = 0;
    CHECK_THROWS_AS(slice_model(other, tokens, options,
                                [&](const Progress& p) {
                                  if (p.phase == phase && ++heard == 3) throw Interrupted("enough");
                                }),
                    Interrupted);
    CHECK(heard == 3);
    if (phase == "slice") continue;
    const auto after = other.decoder().parameters();
    REQUIRE(after.size() == values.size());  // a search leaves the model as it was
    for (size_t i = 0; i < values.size(); ++i) CHECK(bit_difference(after[i], values[i]) == "");
  }
}

TEST_CASE("budgets out of range and out of reach are refused") {
  const ModelConfig config = tiny_config();
  CHECK_THROWS_NAMING(candidates(config, {.remove = 0.0}), ArgumentError, "(0, 1)");
  CHECK_THROWS_NAMING(candidates(config, {.remove = 1.0}), ArgumentError, "(0, 1)");
  CHECK_THROWS_NAMING(candidates(config, {.remove = 0.1, .remove_blocks = 0.1}), ArgumentError,
                      "exactly one");
  CHECK_THROWS_NAMING(candidates(config, {.remove_blocks = 0.95}), ArgumentError, "no plan");
  CHECK_THROWS_NAMING(candidates(config, {.fit_bytes = 1000}), ArgumentError, "no plan");
  Model model = random_model(config);
  CHECK_THROWS_NAMING(slice_model(model, random_tokens(config, 16, 16),
                                  {.method = Method::kSliceGpt, .remove_blocks = 0.2}),
                      ArgumentError, "slicegpt");
  CHECK_THROWS_NAMING(slice_model(model, random_tokens(config, 7, 16), {.remove_blocks = 0.2}),
                      ArgumentError, "eight windows");
}

}  // namespace
}  // namespace slice
