#include "libslice/slicing/detail/recovery.h"

#include <ATen/ATen.h>

#include <array>
#include <catch2/catch_all.hpp>
#include <cmath>
#include <optional>
#include <stdexcept>

#include "libslice/base/error.h"
#include "libslice/checkpoint/model.h"
#include "libslice/model/decoder.h"
#include "libslice/slicing/slice_model.h"
#include "tests/support/error_bounds.h"
#include "tests/support/matchers.h"
#include "tests/support/own_text.h"
#include "tests/support/places.h"
#include "tests/support/tiny_model.h"
#include "tests/support/two_ranks.h"

namespace slice {
namespace {

using at::Tensor;
using namespace tests;

const std::filesystem::path kData = tests::data_directory();

/// Mean loss of every window, (N), in nats a token.
Tensor losses(const Model& model, const Tensor& text) {
  const at::NoGradGuard no_grad;
  const int64_t T = text.size(1);
  const Tensor logits = model.decoder().forward(text).slice(1, 0, T - 1);  // (N, T − 1, V)
  return at::cross_entropy_loss(logits.transpose(1, 2), text.slice(1, 1), {}, at::Reduction::None)
      .mean(1);
}

TEST_CASE("training recovers what narrower networks lose, on text that nothing was fitted to") {
  for (const char* name : {"trained_phi", "trained_opt"}) {
    INFO(name);
    const Model dense = load_model(kData / name, {.dtype = at::kFloat});
    const Tensor first = (at::arange(64, at::kLong) * 3 + 1).unsqueeze(1);  // ids below 512
    const Tensor calibration = own_text(dense, first, 256, 1),
                 unseen = own_text(dense, first, 256, 2);
    const auto sliced = [&](int64_t recover, SliceReport& report) {
      Model model = load_model(kData / name, {.dtype = at::kFloat});
      const SliceOptions options{
          .slice = 0, .ffn_sizes = std::vector<int64_t>(4, 256), .recover = recover};
      report = slice_model(model, calibration, options);
      return losses(model, unseen);
    };
    SliceReport closed, trained;
    const Tensor saved = sliced(0, closed) - sliced(4, trained);
    // The mean over windows is above zero by more than three of its standard errors.
    const double error = saved.std().item<double>() / std::sqrt(64.0);
    CHECK(saved.mean().item<double>() > 3 * error);
    CHECK(*trained.texts[0].held_out_after < *closed.texts[0].held_out_after);
    CHECK(trained.recover_epochs == 4);
    CHECK(trained.recover_seconds > 0);
    CHECK_FALSE(trained.sites[0].recovered.has_value());
    CHECK_FALSE(closed.sites[1].recovered.has_value());
    // The signal before the first sublayer is exact, so that it may have nothing to recover.
    CHECK(trained.sites[1].recovered.value() <= 1);
    for (size_t site = 2; site < trained.sites.size(); ++site)
      CHECK(trained.sites[site].recovered.value() < 1);
  }
}

/// A sublayer without readers whose writer is the least-squares solution on its only text, so that
/// no other writer has a smaller error there.
struct Solved {
  static constexpr int64_t N = 12, T = 9, D = 6;

  Solved() {
    const Tensor x = gaussian({N, T, D}, 1), z = gaussian({N, T, D}, 2);
    sublayer.name = "solved";
    sublayer.norm = RmsNorm(D, 1e-5);
    sublayer.shortcut = Shortcut();
    Linear writer(D, D, false);
    const Tensor h = sublayer.norm->forward(x.view({N * T, D})).tanh();  // (N·T, D)
    writer->weight.set_data(
        std::get<0>(at::linalg_lstsq(h, (z - x).view({N * T, D}))).t().contiguous());
    sublayer.branches = {{.readers = {},
                          .hidden = [](const Tensor& n, KvCache*) { return n.tanh(); },
                          .writer = {"writer", writer->weight, {}}}};
    const auto all = [](const Tensor& rows) {
      return [rows](int64_t begin, int64_t end) { return rows.slice(0, begin, end); };
    };
    const std::vector<int64_t> room = {N, T, D};
    signal.emplace(room, x.options(), D, 2 * T, all(x));
    dense.emplace(room, x.options(), D, 2 * T, all(z));
    parts.fit = parts.choose = {{0, 0, N}};
  }

  detail::RecoveryTask task(int64_t epochs) {
    return {.sublayer = sublayer,
            .x = *signal,
            .dense = *dense,
            .parts = parts,
            .weights = weights,
            .group = alone,
            .P = {},
            .Gamma = {},
            .epochs = epochs,
            .seed = 1,
            .tf32 = false,
            .passed = [](int64_t) {}};
  }

  Sublayer sublayer;
  std::optional<Signal> signal, dense;
  detail::WindowParts parts{CalibrationWindows(at::zeros({N, T}, at::kLong)), {}};
  std::vector<double> weights = {1};
  ProcessGroup alone;
};

TEST_CASE("weights that nothing improves on stay as they were, the same tensors") {
  const at::NoGradGuard no_grad;
  Solved solved;
  const Tensor& weight = solved.sublayer.branches[0].writer.weight;
  const Tensor before = weight.variable_data(), numbers = before.clone();
  {
    detail::Recovery recovery(solved.task(3));
    CHECK(recovery.train() == 1);
    CHECK(recovery.share() == 1);
  }
  CHECK(weight.const_data_ptr() == before.const_data_ptr());
  CHECK(at::equal(weight, numbers));
  CHECK_FALSE(weight.requires_grad());
}

TEST_CASE("a writer that is not the best one comes nearer to it") {
  const at::NoGradGuard no_grad;
  Solved solved;
  Tensor weight = solved.sublayer.branches[0].writer.weight;
  const Tensor best = weight.clone();
  weight.add_(gaussian(weight.sizes(), 5) / 10);
  const Tensor off = weight - best;
  double share = 0;
  {
    detail::Recovery recovery(solved.task(12));
    share = recovery.train();
    CHECK(recovery.share() == share);
  }
  CHECK(share < 1);
  CHECK((weight - best).norm().item<double>() < off.norm().item<double>());
}

TEST_CASE("training that is stopped leaves whole weights, none of them autograd's") {
  const ModelConfig config = tiny_families()[3];
  for (const int64_t calls : {8, 15, 20, 30}) {
    Model model = random_model(config);
    int64_t left = calls;
    const auto stop = [&](const Progress& progress) {
      if (progress.phase == "slice" && --left == 0) throw std::runtime_error("stopped");
    };
    CHECK_THROWS_WITH(
        slice_model(model, random_tokens(config, 16, 16), {.slice = 0, .recover = 4}, stop),
        "stopped");
    for (const auto& parameter : model.decoder().named_parameters()) {
      CHECK_FALSE(parameter.value().requires_grad());
      CHECK(parameter.value().isfinite().all().item<bool>());
    }
  }
}

TEST_CASE("training needs windows to be judged on, and the refit method") {
  const ModelConfig config = tiny_config();
  Model model = random_model(config);
  CHECK_THROWS_NAMING(slice_model(model, random_tokens(config, 7, 16), {.recover = 1}),
                      ArgumentError, "recover: want at least eight calibration windows");
  CHECK_THROWS_NAMING(
      slice_model(model, random_tokens(config, 9, 16), {.method = Method::kSliceGpt, .recover = 1}),
      ArgumentError, "does not train");
  CHECK_THROWS_NAMING(slice_model(model, random_tokens(config, 9, 16), {.recover = -1}),
                      ArgumentError, "recover: want epochs");
}

TEST_CASE("every family, form of shortcut and dtype is trained, and the same seed gives its bits") {
  std::vector<ModelConfig> configs = tiny_families();
  configs.push_back(tiny_config());
  for (const ModelConfig& config : configs) {
    for (const ShortcutForm form : {ShortcutForm::kNone, ShortcutForm::kDiagonal,
                                    ShortcutForm::kLowRank, ShortcutForm::kDense}) {
      const auto dtype = form == ShortcutForm::kNone ? at::kHalf : at::kFloat;
      INFO(describe(config) << " " << shortcut_name(form));
      const SliceOptions options{
          .slice = 0.3, .round = 2, .shortcut = form, .shortcut_rank = 3, .recover = 1};
      const Tensor tokens = random_tokens(config, 9, 16);
      std::array<Model, 2> models = {random_model(config, 1, dtype),
                                     random_model(config, 1, dtype)};
      for (Model& model : models) slice_model(model, tokens, options);
      const auto other = models[1].decoder().named_parameters();
      for (const auto& parameter : models[0].decoder().named_parameters()) {
        CHECK(parameter.value().scalar_type() == dtype);
        CHECK(at::equal(parameter.value(), other[parameter.key()]));
      }
    }
  }
}

TEST_CASE("two ranks, one without windows for choices, train as one does") {
  for (const ModelConfig& config : {tiny_config(), tiny_families()[3]}) {
    INFO(describe(config));
    // Every site sliced: the directions that a head's whole site has beside the kept ones come in
    // any order and sense, on which the steps of Adam depend, other than least squares.
    const SliceOptions options{.slice = 0.3, .round = 2, .head = HeadMode::kSlice, .recover = 2};
    check_two_ranks(config, options);
  }
}

}  // namespace
}  // namespace slice
