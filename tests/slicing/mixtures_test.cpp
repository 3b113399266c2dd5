// Models with mixtures of experts, sliced by both methods, in memory and layer by layer.

#include <ATen/ATen.h>

#include <catch2/catch_all.hpp>
#include <filesystem>

#include "libslice/base/error.h"
#include "libslice/checkpoint/checkpoint.h"
#include "libslice/checkpoint/model.h"
#include "libslice/checkpoint/output_form.h"
#include "libslice/checkpoint/stock.h"
#include "libslice/method/refit.h"
#include "libslice/model/decoder.h"
#include "libslice/slicing/slice_checkpoint.h"
#include "libslice/slicing/slice_model.h"
#include "tests/support/error_bounds.h"
#include "tests/support/matchers.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

using at::Tensor;
using namespace tests;

Tensor logits(const Model& model, const Tensor& tokens) {
  const at::NoGradGuard no_grad;
  return model.decoder().forward(tokens);
}

Tensor refitted_logits(const ModelConfig& config, const SliceOptions& options,
                       const Tensor& tokens) {
  Model model = random_model(config);
  slice_model(model, random_tokens(config, 9, 16), options);
  return logits(model, tokens);
}

constexpr ShortcutForm kForms[] = {ShortcutForm::kNone, ShortcutForm::kDiagonal,
                                   ShortcutForm::kLowRank, ShortcutForm::kDense};

TEST_CASE("refit of a model with experts at k = D is the identity") {
  for (const ModelConfig& config : tiny_families_with_experts()) {
    INFO(describe(config));
    const Tensor tokens = random_tokens(config, 2, 12, 7);
    CHECK(relative_difference(refitted_logits(config, {.slice = 0.0}, tokens),
                              logits(random_model(config), tokens)) < kSameFunction);
  }
}

TEST_CASE("a refitted model with experts is what its configuration says, with every shortcut") {
  for (const ModelConfig& config : tiny_families_with_experts()) {
    for (const ShortcutForm form : kForms) {
      for (const HeadMode head : {HeadMode::kKeep, HeadMode::kSlice}) {
        INFO(describe(config) << " " << shortcut_name(form));
        const SliceOptions options{
            .slice = 0.3, .round = 2, .head = head, .shortcut = form, .shortcut_rank = 3};
        Model model = random_model(config);
        const SliceReport report = slice_model(model, random_tokens(config, 9, 16), options);
        CHECK(model.config().shortcut == form);
        CHECK_NOTHROW(check_whole(model));
        CHECK(report.after.total ==
              count_parameters(written_config(planned_config(config, options))).total);
        CHECK(logits(model, random_tokens(config, 1, 8)).isfinite().all().item<bool>());
      }
    }
  }
}

TEST_CASE("gauges change no function of a model with experts") {
  for (const ModelConfig& config : tiny_families_with_experts()) {
    INFO(describe(config));
    const Tensor tokens = random_tokens(config, 2, 12, 7);
    SliceOptions options{.slice = 0.3, .round = 2, .head = HeadMode::kSlice};
    options.shortcut = ShortcutForm::kDense;
    const Tensor dense = refitted_logits(config, options, tokens);
    options.shortcut = ShortcutForm::kDiagonal;
    CHECK(relative_difference(refitted_logits(config, options, tokens), dense) < kSameSlicing);
    options.shortcut = ShortcutForm::kLowRank;
    options.shortcut_rank = config.hidden_size;
    CHECK(relative_difference(refitted_logits(config, options, tokens), dense) < kSameSlicing);
  }
}

TEST_CASE("a model with experts that is sliced to the rank of its signal loses nothing") {
  constexpr int64_t kRank = 16;
  for (const ModelConfig& config : tiny_families_with_experts()) {
    if (config.family == "mixtral") continue;  // its writers have other names
    for (const Method method : {Method::kSliceGpt, Method::kRefit}) {
      INFO(describe(config) << (method == Method::kRefit ? " refit" : ""));
      Model model = low_rank_model(config, kRank);
      const Tensor tokens = random_tokens(config, 2, 12, 7), dense = logits(model, tokens);
      slice_model(model, random_tokens(config, 9, 16), {.method = method, .kept = kRank});
      // A refit's ridge pulls attention's writers to what they are.
      CHECK(relative_difference(logits(model, tokens), dense) < kSameSlicing);
    }
  }
}

TEST_CASE("a stock model with experts is written where nothing is between sites") {
  for (const ModelConfig& config : tiny_families_with_experts()) {
    INFO(describe(config));
    Model model = random_model(config);
    slice_model(model, random_tokens(config, 9, 16), {.kept = 16, .head = HeadMode::kSlice});
    CHECK(output_form(model.config()).stock == (config.family != "olmoe"));
    CHECK(output_form(model.config()).gguf == (config.family == "mixtral" ? "llama" : ""));
    const TemporaryDirectory directory;
    save_model(model, directory.path() / "m", {.dtype = at::kFloat});
    const Model again = load_model(directory.path() / "m", {.dtype = at::kDouble});
    CHECK(again.config().stream_size(0) == 16);
    CHECK(again.config().experts == config.experts);
    const Tensor tokens = random_tokens(config, 2, 12, 7);
    CHECK(relative_difference(logits(again, tokens), logits(model, tokens)) <
          network_allowance(config, at::kFloat));
  }
}

TEST_CASE("layer by layer a model with experts becomes what it becomes in memory") {
  for (const ModelConfig& config : tiny_families_with_experts()) {
    for (const Method method : {Method::kSliceGpt, Method::kRefit}) {
      INFO(describe(config) << (method == Method::kRefit ? " refit" : ""));
      const SliceOptions options{.method = method, .slice = 0.3, .round = 2};
      const TemporaryDirectory scratch;
      save_model(random_model(config, 5, at::kFloat), scratch.path() / "dense");
      const Tensor tokens = random_tokens(config, 9, 16);
      Model whole = load_model(scratch.path() / "dense");
      slice_model(whole, tokens, options);
      save_model(whole, scratch.path() / "whole");
      std::filesystem::create_directory(scratch.path() / "streamed");
      const auto checkpoint = open_checkpoint(scratch.path() / "dense");
      slice_checkpoint(*checkpoint, tokens, options, scratch.path() / "streamed", {}, nullptr);
      const Model a = load_model(scratch.path() / "whole"),
                  b = load_model(scratch.path() / "streamed");
      const Tensor read = random_tokens(config, 2, 12, 7);
      CHECK(bit_difference(logits(a, read), logits(b, read)) == "");
    }
  }
}

TEST_CASE("experts of fewer channels are least squares of what they wrote for their own tokens") {
  for (const ModelConfig& config : tiny_families_with_experts()) {
    INFO(describe(config));
    const int64_t F = config.ffn_size, keep = F - 7;
    const Model dense = random_model(config);
    Model model = random_model(config);
    const Tensor tokens = random_tokens(config, 3, 40);  // too few windows for choices
    slice_model(model, tokens,
                {.slice = 0.0, .ffn_sizes = std::vector<int64_t>(config.layers, keep)});
    CHECK(model.config().ffn_size == keep);
    CHECK(output_form(model.config()).stock);
    CHECK_NOTHROW(check_whole(model));
    // The first mixture reads what attention, refitted to itself, leaves: the dense signal.
    const ModelAdapter before = dense.decoder().adapter(), after = model.decoder().adapter();
    const at::NoGradGuard no_grad;
    const Sublayer& s = before.sublayers[1];
    const Tensor x = before.sublayers[0].forward(before.embed(tokens));
    s.branches[0].expert_hidden(
        s.norm->forward(x), 0, config.experts.count, [&](int64_t e, const ExpertTokens& mine) {
          const Tensor h = mine.shared();  // (m, F)
          const ExpertRef& old = s.branches[0].experts[e];
          const ExpertRef& narrow = after.sublayers[1].branches[0].experts[e];
          std::vector<int64_t> kept;  // rows of the gate that are still there
          const Tensor gate = old.readers[0].weight, left = narrow.readers[0].weight;
          for (int64_t i = 0; i < F; ++i)
            if (static_cast<int64_t>(kept.size()) < keep &&
                at::equal(gate[i], left[static_cast<int64_t>(kept.size())]))
              kept.push_back(i);
          REQUIRE(static_cast<int64_t>(kept.size()) == keep);
          const Tensor index = at::tensor(kept, at::kLong), A = h.t().mm(h),
                       rows = A.index_select(0, index);
          const Tensor want =
              ridge_solve(rows.index_select(1, index), rows.mm(old.writer.weight.t()), 1e-4).t();
          CHECK(relative_difference(narrow.writer.weight, want) < 1e-6);
        });
  }
}

TEST_CASE("an expert without tokens keeps the columns with the largest norms") {
  ModelConfig config = tiny_families_with_experts()[2];
  config.experts = {.count = 2, .per_token = 1, .normalised = true};
  Model model = random_model(config);
  ModelAdapter adapter = model.decoder().adapter();
  Branch& branch = adapter.sublayers[1].branches[0];
  branch.readers[0].weight.set_data(at::zeros({2, config.hidden_size}, at::kDouble));  // a tie
  const Tensor writers[] = {branch.experts[0].writer.weight.clone(),
                            branch.experts[1].writer.weight.clone()};
  slice_model(model, random_tokens(config, 9, 16),
              {.slice = 0.0, .ffn_sizes = std::vector<int64_t>(config.layers, 20)});
  int64_t same = 0;
  for (int64_t e = 0; e < 2; ++e) {
    const Tensor order = std::get<1>(writers[e].square().sum(0).topk(20));
    same += at::equal(branch.experts[e].writer.weight,
                      writers[e].index_select(1, std::get<0>(order.sort())));
  }
  CHECK(same == 1);
}

TEST_CASE("a budget of a model with experts is used up by a stock plan, in memory or by layers") {
  for (const ModelConfig& config : tiny_families_with_experts()) {
    for (const bool free : {false, true}) {  // hidden sizes are looked at too
      INFO(describe(config) << " free " << free);
      SliceOptions options{.remove_blocks = 0.3};
      if (free) {
        options.head = HeadMode::kSlice;
        options.layout = Layout::kFree;
      }
      const TemporaryDirectory scratch;
      save_model(random_model(config, 5, at::kFloat), scratch.path() / "dense");
      const CalibrationWindows windows = random_tokens(config, 16, 16);
      Model model = load_model(scratch.path() / "dense");
      const SliceReport report = slice_model(model, windows, options);
      CHECK((report.candidates.size() > 1) == free);
      for (const Candidate& candidate : report.candidates) CHECK(candidate.even);
      CHECK(static_cast<double>(report.after.blocks) <=
            0.7 * static_cast<double>(report.before.blocks));
      if (!free) CHECK(output_form(model.config()).stock);
      save_model(model, scratch.path() / "whole");
      std::filesystem::create_directory(scratch.path() / "streamed");
      const auto checkpoint = open_checkpoint(scratch.path() / "dense");
      slice_checkpoint(*checkpoint, windows, options, scratch.path() / "streamed", {}, nullptr);
      const Model a = load_model(scratch.path() / "whole"),
                  b = load_model(scratch.path() / "streamed");
      const Tensor read = random_tokens(config, 2, 12, 7);
      CHECK(bit_difference(logits(a, read), logits(b, read)) == "");
    }
  }
}

}  // namespace
}  // namespace slice
