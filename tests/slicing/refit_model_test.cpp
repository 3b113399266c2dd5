#include "libslice/slicing/detail/refit_model.h"

#include <ATen/ATen.h>

#include <catch2/catch_all.hpp>
#include <functional>
#include <limits>
#include <numeric>

#include "libslice/base/error.h"
#include "libslice/checkpoint/stock.h"
#include "libslice/device/detail/tf32.h"
#include "libslice/device/device.h"
#include "libslice/method/gradient.h"
#include "libslice/model/decoder.h"
#include "libslice/slicing/slice_model.h"
#include "tests/support/error_bounds.h"
#include "tests/support/matchers.h"
#include "tests/support/tiny_model.h"
#include "tests/support/two_branch_model.h"
#include "tests/support/two_ranks.h"

namespace slice {
namespace {

using at::Tensor;
using namespace tests;

std::vector<ModelConfig> all_configs() {
  std::vector<ModelConfig> configs = tiny_configs();
  for (const ModelConfig& config : tiny_families()) configs.push_back(config);
  return configs;
}

/// Names and shapes of the parameters that a configuration asks for.
std::map<std::string, std::vector<int64_t>> shapes(const torch::nn::Module& module) {
  std::map<std::string, std::vector<int64_t>> found;
  for (const auto& parameter : module.named_parameters())
    found[parameter.key()] = parameter.value().sizes().vec();
  return found;
}

Tensor logits_after(const ModelConfig& config, const SliceOptions& options, const Tensor& tokens) {
  Model model = random_model(config);
  slice_model(model, random_tokens(config, 9, 16), options);
  const at::NoGradGuard no_grad;
  return model.decoder().forward(tokens);
}

TEST_CASE("refit at k = D with every channel is the identity, and leaves norms and tie alone") {
  for (const ModelConfig& config : all_configs()) {
    INFO(describe(config));
    Model model = random_model(config);
    const Tensor tokens = random_tokens(config, 2, 12, 7);
    const auto before = shapes(model.decoder());
    const at::NoGradGuard no_grad;
    const Tensor dense = model.decoder().forward(tokens);
    slice_model(model, random_tokens(config, 9, 16), {.slice = 0.0});
    CHECK(shapes(model.decoder()) == before);
    CHECK(model.config().tied_head == config.tied_head);
    CHECK(relative_difference(model.decoder().forward(tokens), dense) < kSameFunction);
  }
}

TEST_CASE("every form of shortcut and every family becomes what its configuration says") {
  const std::vector<ShortcutForm> forms = {ShortcutForm::kNone, ShortcutForm::kDiagonal,
                                           ShortcutForm::kLowRank, ShortcutForm::kDense};
  for (const ModelConfig& config : all_configs()) {
    for (const ShortcutForm form : forms) {
      for (const HeadMode head : {HeadMode::kKeep, HeadMode::kSlice}) {
        INFO(describe(config) << " " << shortcut_name(form) << " head sliced "
                              << (head == HeadMode::kSlice));
        const SliceOptions options{
            .slice = 0.3,
            .round = 2,
            .head = head,
            .shortcut = form,
            .shortcut_rank = 3,
            .ffn_sizes = std::vector<int64_t>(config.layers, config.ffn_size - 3)};
        Model model = random_model(config);
        const SliceReport report = slice_model(model, random_tokens(config, 9, 16), options);
        CHECK(report.method == "refit");
        CHECK(report.shortcut == shortcut_name(form));
        CHECK(model.config().shortcut == form);
        CHECK(shapes(model.decoder()) == shapes(DecoderImpl(model.config())));
        CHECK(report.after.total ==
              count_parameters(written_config(planned_config(config, options))).total);
        const at::NoGradGuard no_grad;
        CHECK(model.decoder().forward(random_tokens(config, 1, 8)).isfinite().all().item<bool>());
      }
    }
  }
}

TEST_CASE(
    "gauges change no function: diagonal and full-rank shortcuts compute what dense ones do") {
  for (const ModelConfig& config : all_configs()) {
    INFO(describe(config));
    const Tensor tokens = random_tokens(config, 2, 12, 7);
    SliceOptions options{.slice = 0.3, .round = 2, .head = HeadMode::kSlice};
    options.shortcut = ShortcutForm::kDense;
    const Tensor dense = logits_after(config, options, tokens);
    options.shortcut = ShortcutForm::kDiagonal;
    CHECK(relative_difference(logits_after(config, options, tokens), dense) < kSameSlicing);
    options.shortcut = ShortcutForm::kLowRank;
    options.shortcut_rank = config.hidden_size;  // more than k: all of it
    CHECK(relative_difference(logits_after(config, options, tokens), dense) < kSameSlicing);
  }
}

TEST_CASE("slicing to the rank of the signal loses nothing") {
  const ModelConfig config = tiny_config();
  const int64_t rank = 16;
  for (const HeadMode head : {HeadMode::kKeep, HeadMode::kSlice}) {
    Model model = low_rank_model(config, rank);
    const Tensor tokens = random_tokens(config, 2, 12, 7);
    const at::NoGradGuard no_grad;
    const Tensor dense = model.decoder().forward(tokens);
    SliceOptions options{.head = head};
    options.kept = rank;
    slice_model(model, random_tokens(config, 16, 32), options);
    // The family of bases holds the one that loses nothing at τ = ∞ only; three solves come near.
    CHECK(relative_difference(model.decoder().forward(tokens), dense) < 1e-4);
  }
}

TEST_CASE("a head that keeps its tie loses nothing where the bases hold embedding and signal") {
  ModelConfig config = tiny_config();
  config.tied_head = true;
  const int64_t rank = 16;
  Model model = low_rank_model(config, rank);
  const Tensor tokens = random_tokens(config, 2, 12, 7);
  const at::NoGradGuard no_grad;
  const Tensor dense = model.decoder().forward(tokens);
  SliceOptions options{.keep_tie = true};
  options.kept = rank;
  slice_model(model, random_tokens(config, 16, 32), options);
  CHECK(relative_difference(model.decoder().forward(tokens), dense) < 1e-4);
}

TEST_CASE("a head that keeps its tie is stored once, with a map") {
  for (ModelConfig config : {tiny_config(), tiny_families().front()}) {
    config.tied_head = true;
    config.head_bias = false;
    INFO(describe(config));
    for (const HeadMode head : {HeadMode::kKeep, HeadMode::kSlice}) {
      for (const ShortcutForm form : {ShortcutForm::kNone, ShortcutForm::kDiagonal}) {
        const SliceOptions options{
            .slice = 0.3, .round = 2, .head = head, .keep_tie = true, .shortcut = form};
        Model model = random_model(config);
        const SliceReport report = slice_model(model, random_tokens(config, 9, 16), options);
        CHECK(report.tied);
        CHECK(model.config().maps_head());
        CHECK(shapes(model.decoder()) == shapes(DecoderImpl(model.config())));
        int64_t stored = 0;
        for (const auto& [name, shape] : shapes(model.decoder()))
          stored += c10::multiply_integers(shape);
        CHECK(report.after.total == stored);
        const at::NoGradGuard no_grad;
        CHECK(model.decoder().forward(random_tokens(config, 1, 8)).isfinite().all().item<bool>());
      }
    }
  }
  Model untied = random_model(tiny_config());
  CHECK_THROWS_NAMING(slice_model(untied, random_tokens(tiny_config(), 9, 16), {.keep_tie = true}),
                      ArgumentError, "its own");
}

TEST_CASE("refit follows the dense signal more closely than the sliced writer it starts from") {
  // Half of the feed-forward channels copy the other half: deleting them, the rest can do all.
  const ModelConfig config = tiny_config();
  Model model = random_model(config);
  const int64_t half = config.ffn_size / 2;
  for (const auto& parameter : model.decoder().named_parameters()) {
    const Tensor& W = parameter.value();
    const at::NoGradGuard no_grad;
    if (parameter.key().ends_with("gate_proj.weight") ||
        parameter.key().ends_with("up_proj.weight"))
      W.slice(0, half, 2 * half).copy_(W.slice(0, 0, half));
  }
  const Tensor tokens = random_tokens(config, 2, 12, 7);
  const at::NoGradGuard no_grad;
  const Tensor dense = model.decoder().forward(tokens);
  slice_model(model, random_tokens(config, 16, 64),
              {.slice = 0.0, .ffn_sizes = {config.ffn_size - half, config.ffn_size - half}});
  CHECK(model.config().ffn_size == config.ffn_size - half);
  // The ridge of 1e-4 on the mean diagonal is what is lost.
  CHECK(relative_difference(model.decoder().forward(tokens), dense) < 1e-2);
}

TEST_CASE("chunks change memory, and what the refitted model computes by rounding alone") {
  const ModelConfig config = tiny_config();
  const Tensor tokens = random_tokens(config, 2, 12, 7);
  const auto refitted = [&](int64_t chunk_tokens) {
    return logits_after(config, {.slice = 0.3, .round = 2, .chunk_tokens = chunk_tokens}, tokens);
  };
  // Not to the bit: products of 16 rows and of 144 may be summed in other orders.
  const Tensor want = refitted(16);
  for (const int64_t chunk_tokens : {48, 61, 9 * 16})
    CHECK(relative_difference(refitted(chunk_tokens), want) < kSameSlicing);
}

TEST_CASE("two ranks refit as one does, by every form of shortcut and to a budget") {
  const ModelConfig config = tiny_config(), tied = tiny_families()[2];  // OPT: LayerNorm, tied
  std::vector<std::pair<ModelConfig, SliceOptions>> cases;
  for (const ShortcutForm form : {ShortcutForm::kNone, ShortcutForm::kDiagonal,
                                  ShortcutForm::kLowRank, ShortcutForm::kDense}) {
    cases.push_back({config,
                     {.slice = 0.3,
                      .round = 2,
                      .shortcut = form,
                      .shortcut_rank = 3,
                      .ffn_sizes = std::vector<int64_t>(config.layers, config.ffn_size - 3)}});
  }
  cases.push_back({tied, {.slice = 0.3, .round = 2, .head = HeadMode::kSlice, .keep_tie = true}});
  cases.push_back({config, {.round = 2, .remove_blocks = 0.2}});
  for (const auto& [dense, options] : cases) {
    INFO(describe(dense) << " " << shortcut_name(options.shortcut_form()));
    check_two_ranks(dense, options);
  }
}

TEST_CASE("a trial leaves the model as it was, and says that keeping more loses less") {
  for (const ModelConfig& config : all_configs()) {
    INFO(describe(config));
    Model model = random_model(config);
    model.decoder().prepare_readers();  // as a search does it
    const auto before = shapes(model.decoder());
    std::map<std::string, Tensor> weights;
    for (const auto& p : model.decoder().named_parameters()) weights[p.key()] = p.value().clone();
    const Tensor tokens = random_tokens(config, 32, 16);
    const CalibrationWindows trial = CalibrationWindows(tokens).trial(32);
    ModelAdapter adapter = model.decoder().adapter();
    const auto gammas = gradient_covariances(adapter, trial.fitted(16));
    SliceOptions options;
    std::vector<double> losses;
    for (const int64_t kept : {config.hidden_size, config.hidden_size - 2}) {
      options.kept = kept;
      losses.push_back(refit_trial(adapter, trial, options, gammas));
    }
    CHECK(std::isfinite(losses[1]));
    CHECK(shapes(model.decoder()) == before);
    for (const auto& p : model.decoder().named_parameters())
      CHECK(bit_difference(p.value(), weights[p.key()]) == "");
    // At k = D a trial is the dense model on the windows for choices: four before the last two.
    const at::NoGradGuard no_grad;
    const Tensor held = tokens.slice(0, 26, 30);
    const Tensor logits = model.decoder().forward(held).slice(1, 0, 15).flatten(0, 1);
    const double dense = at::cross_entropy_loss(logits, held.slice(1, 1).flatten()).item<double>();
    CHECK(losses[0] == Catch::Approx(dense).epsilon(1e-5));
  }
}

TEST_CASE("user-defined modules are refitted, parallel branches together") {
  TwoBranchModel model;
  const Tensor tokens = TwoBranchModel::tokens(3, 12);
  const at::NoGradGuard no_grad;
  SliceOptions options;
  options.kept = TwoBranchModel::D - 4;
  const SliceReport report = slice_model(model.adapter, TwoBranchModel::tokens(9, 12), options);
  CHECK(report.stream_sizes == std::vector<int64_t>{16, 16, 20});
  CHECK(model.logits(tokens).isfinite().all().item<bool>());
  CHECK(model.adapter.sublayers[0].shortcut->identity());
}

TEST_CASE("what the refit cannot do is refused before anything changes") {
  const ModelConfig config = tiny_config();
  const Tensor tokens = random_tokens(config, 9, 16);
  Model model = random_model(config);
  const auto before = shapes(model.decoder());
  CHECK_THROWS_NAMING(slice_model(model, tokens, {.ffn_sizes = {38}}), ArgumentError, "ffn sizes");
  CHECK_THROWS_NAMING(slice_model(model, tokens, {.ffn_sizes = {38, 39}}), ArgumentError, "39");
  CHECK_THROWS_NAMING(slice_model(model, tokens, {.shortcut = ShortcutForm::kLowRank}),
                      ArgumentError, "rank");
  CHECK_THROWS_NAMING(slice_model(model, tokens, {.gradient_samples = 0}), ArgumentError,
                      "gradient");
  CHECK_THROWS_NAMING(
      slice_model(model, tokens, {.method = Method::kSliceGpt, .ffn_sizes = {38, 38}}),
      ArgumentError, "slicegpt");
  CHECK_THROWS_NAMING(
      slice_model(model, tokens,
                  {.method = Method::kSliceGpt, .shortcut = ShortcutForm::kDiagonal}),
      ArgumentError, "dense");
  CHECK(shapes(model.decoder()) == before);
}

TEST_CASE("a GPU refits as the CPU does", "[cuda]") {
  if (choose_device().is_cpu()) SKIP("no CUDA device");
  const at::NoGradGuard no_grad;
  for (const ModelConfig& config : all_configs()) {
    for (const ShortcutForm form : {ShortcutForm::kNone, ShortcutForm::kDiagonal}) {
      INFO(describe(config) << " " << shortcut_name(form));
      const Tensor calibration = random_tokens(config, 9, 16),
                   tokens = random_tokens(config, 2, 12);
      SliceOptions options{.slice = 0.3, .round = 2, .shortcut = form};
      options.ffn_sizes.assign(config.layers, config.ffn_size - 2);
      std::vector<Tensor> gammas, logits;
      for (const char* device : {"cpu", "cuda"}) {
        Model model = random_model(config);
        model.decoder().prepare_head();
        model.decoder().to(at::Device(device));
        ModelAdapter adapter = model.decoder().adapter();
        if (gammas.empty()) gammas = gradient_covariances(adapter, calibration);
        refit_model(adapter, calibration, options, {}, gammas);
        model.decoder().set_sliced(plan_stream_sizes(config.hidden_size, config.sites(), options),
                                   form);
        logits.push_back(model.decoder().forward(tokens.to(at::Device(device))).cpu());
      }
      CHECK(relative_difference(logits[1], logits[0]) < 1e-6);
    }
  }
}

/// The worst error of float32 products A B, in units of the bound of exact float32 arithmetic:
/// γ_k Σ |a b|, γ_k = k u / (1 − k u), u = 2⁻²⁴, whatever the order of the sum.
double product_error(const Tensor& A, const Tensor& B) {
  const double ku = static_cast<double>(A.size(1)) * 0x1p-24;
  const Tensor a = A.cpu().to(at::kDouble), b = B.cpu().to(at::kDouble);
  const Tensor bound = ku / (1 - ku) * a.abs().mm(b.abs());
  return ((A.mm(B).cpu().to(at::kDouble) - a.mm(b)).abs() / bound).max().item<double>();
}

/// Positive numbers (rows, columns) that TF32's eleven bits miss by 2⁻¹² of them: (1 + 2⁻¹²)·2ⁿ.
Tensor missed_by_tf32(int64_t rows, int64_t columns) {
  return (at::randint(-3, 4, {rows, columns}, at::kFloat).exp2() * (1 + 0x1p-12)).cuda();
}

TEST_CASE("float32 products on a GPU are TF32 or exact as a scope says, whatever was chosen before",
          "[cuda]") {
  if (choose_device().is_cpu()) SKIP("no CUDA device");
  const Tensor A = missed_by_tf32(256, 512), B = missed_by_tf32(512, 128);
  for (const bool before : {false, true}) {
    CAPTURE(before);
    const detail::Tf32Scope process(before);
    {
      const detail::Tf32Scope off(false);
      CHECK(product_error(A, B) <= 1);
    }
    CHECK(at::globalContext().allowTF32CuBLAS() == before);
    {
      const detail::Tf32Scope on(true);
      CHECK(product_error(A, B) > 1);
    }
    CHECK(at::globalContext().allowTF32CuBLAS() == before);
  }
}

/// Calls `see` in every forward pass of a sublayer.
void watch(ModelAdapter& model, const std::function<void()>& see) {
  for (Sublayer& s : model.sublayers) {
    for (Branch& branch : s.branches) {
      branch.hidden = [see, hidden = branch.hidden](const Tensor& normed, KvCache* cache) {
        see();
        return hidden(normed, cache);
      };
    }
  }
}

/// Refits a float32 model; `see` is called in every forward pass.
SliceReport watched_refit(const char* device, bool tf32, const std::function<void()>& see) {
  const ModelConfig config = tiny_config();
  Model model = random_model(config, 1, at::kFloat);
  model.decoder().prepare_head();
  model.decoder().to(at::Device(device));
  ModelAdapter adapter = model.decoder().adapter();
  watch(adapter, see);
  return slice_model(adapter, random_tokens(config, 9, 16),
                     {.slice = 0.3, .round = 2, .tf32 = tf32});
}

TEST_CASE("a refit sets LibTorch's switch of TF32 as asked and puts it back; a CPU has none") {
  for (const bool before : {false, true}) {
    for (const bool tf32 : {false, true}) {
      CAPTURE(before, tf32);
      const detail::Tf32Scope process(before);
      int passes = 0, as_asked = 0;
      const SliceReport report = watched_refit("cpu", tf32, [&] {
        ++passes;
        as_asked += at::globalContext().allowTF32CuBLAS() == tf32 ? 1 : 0;
      });
      CHECK(passes > 0);
      CHECK(as_asked == passes);
      CHECK(at::globalContext().allowTF32CuBLAS() == before);
      CHECK_FALSE(report.tf32);
    }
  }
}

TEST_CASE("a float32 refit on a GPU multiplies as asked, and the report says how", "[cuda]") {
  if (choose_device().is_cpu()) SKIP("no CUDA device");
  const Tensor A = missed_by_tf32(256, 512), B = missed_by_tf32(512, 128);
  for (const bool before : {false, true}) {
    for (const bool tf32 : {false, true}) {
      CAPTURE(before, tf32);
      const detail::Tf32Scope process(before);
      double least = std::numeric_limits<double>::infinity(), most = 0;
      const SliceReport report = watched_refit("cuda", tf32, [&] {
        const double error = product_error(A, B);
        least = std::min(least, error);
        most = std::max(most, error);
      });
      CHECK(report.tf32 == tf32);
      if (tf32) {
        CHECK(least > 1);
      } else {
        CHECK(most <= 1);
      }
      CHECK(at::globalContext().allowTF32CuBLAS() == before);
    }
  }
}

TEST_CASE("a refit in half precision reports no TF32", "[cuda]") {
  if (choose_device().is_cpu()) SKIP("no CUDA device");
  const ModelConfig config = tiny_config();
  Model model = random_model(config, 1, at::kHalf);
  model.decoder().to(at::Device("cuda"));
  CHECK_FALSE(slice_model(model, random_tokens(config, 9, 16), {.slice = 0.3, .round = 2}).tf32);
}

TEST_CASE("gradients on a GPU: the same bits for the same seed", "[cuda]") {
  if (choose_device().is_cpu()) SKIP("no CUDA device");
  const ModelConfig config = tiny_config();
  Model model = random_model(config, 1, at::kHalf);
  model.decoder().to(at::Device("cuda"));
  const ModelAdapter adapter = model.decoder().adapter();
  const Tensor tokens = random_tokens(config, 4, 16);
  const auto a = gradient_covariances(adapter, tokens, 3),
             b = gradient_covariances(adapter, tokens, 3);
  for (size_t i = 0; i < a.size(); ++i) CHECK(bit_difference(a[i], b[i]) == "");
}

/// All weights of a model refitted with two texts, of which `last` is the last window of the second.
std::map<std::string, Tensor> refitted(const ModelConfig& config, const SliceOptions& options,
                                       const Tensor& tokens, SliceReport* told) {
  Model model = random_model(config);
  std::vector<int64_t> text_of;
  for (int64_t i = 0; i < tokens.size(0); ++i) text_of.push_back(i % 2);
  const SliceReport report =
      slice_model(model, CalibrationWindows(tokens, {{"one", 1}, {"two", 3}}, text_of), options);
  if (told != nullptr) *told = report;
  std::map<std::string, Tensor> weights;
  for (const auto& p : model.decoder().named_parameters()) weights[p.key()] = p.value().clone();
  return weights;
}

TEST_CASE("nothing that is written depends on the windows that are held out") {
  const ModelConfig config = tiny_config();
  ModelConfig tied = tiny_families()[2];
  for (const auto& [dense, options] : std::vector<std::pair<ModelConfig, SliceOptions>>{
           {config, {.round = 2, .remove_blocks = 0.2}},
           {config, {.slice = 0.3, .round = 2, .ffn_sizes = {30, 31}}},
           {config, {.slice = 0.0, .ffn_sizes = {30, 31}}},
           {tied, {.slice = 0.3, .round = 2, .head = HeadMode::kSlice, .keep_tie = true}}}) {
    INFO(describe(dense));
    const Tensor tokens = random_tokens(dense, 32, 16);
    Tensor other = tokens.clone();
    other.slice(0, 30).copy_(random_tokens(dense, 2, 16, 99));  // the last of each text
    SliceReport before, after;
    const auto want = refitted(dense, options, tokens, &before),
               got = refitted(dense, options, other, &after);
    REQUIRE(got.size() == want.size());
    for (const auto& [name, value] : want) {
      CAPTURE(name);
      CHECK(bit_difference(got.at(name), value) == "");
    }
    REQUIRE(before.texts.size() == 2);
    for (size_t text = 0; text < 2; ++text) {
      CHECK(before.texts[text].windows == 16);
      CHECK(before.texts[text].held_out == 1);
      CHECK(*before.texts[text].held_out_before != *after.texts[text].held_out_before);
      CHECK(*before.texts[text].held_out_after != *after.texts[text].held_out_after);
    }
    // Those for choices before them do matter, and are fitted.
    other = tokens.clone();
    other.slice(0, 28, 30).copy_(random_tokens(dense, 2, 16, 99));
    const auto moved = refitted(dense, options, other, nullptr);
    bool same = true;
    for (const auto& [name, value] : want)
      same = same && moved.at(name).sizes() == value.sizes() && moved.at(name).equal(value);
    CHECK_FALSE(same);
  }
}

TEST_CASE("the report says what every text lost: the loss of the dense and the sliced model") {
  const ModelConfig config = tiny_config();
  ModelConfig tied = tiny_families()[2];
  for (const auto& [dense, options] : std::vector<std::pair<ModelConfig, SliceOptions>>{
           {config, {.slice = 0.3, .round = 2}},
           {config, {.slice = 0.3, .round = 2, .head = HeadMode::kSlice}},
           {config, {.slice = 0.0, .ffn_sizes = {30, 31}}},
           {config, {.slice = 0.0, .ffn_sizes = {30, 31}, .chunk_tokens = 32}},
           {tied, {.slice = 0.3, .round = 2, .keep_tie = true}}}) {
    INFO(describe(dense));
    const Tensor tokens = random_tokens(dense, 16, 16);
    Model model = random_model(dense);
    const at::NoGradGuard no_grad;
    const Tensor held = tokens.slice(0, 15);  // a sixteenth
    const auto loss = [&] {
      const Tensor logits = model.decoder().forward(held).slice(1, 0, 15).flatten(0, 1);
      return at::cross_entropy_loss(logits, held.slice(1, 1).flatten()).item<double>();
    };
    const double before = loss();
    const SliceReport report = slice_model(model, tokens, options);
    REQUIRE(report.texts.size() == 1);
    // Logits are compared in float32.
    CHECK(*report.texts[0].held_out_before == Catch::Approx(before).epsilon(1e-6));
    CHECK(*report.texts[0].held_out_after == Catch::Approx(loss()).epsilon(1e-6));
  }
  Model few = random_model(config);
  const SliceReport report = slice_model(few, random_tokens(config, 7, 16), {.slice = 0.3});
  CHECK(report.texts.at(0).held_out == 0);
  CHECK_FALSE(report.texts.at(0).held_out_before);
}

TEST_CASE("a text's weight is what its windows count: twice as much is as good as twice the text") {
  const ModelConfig config = tiny_config();
  const SliceOptions options{.slice = 0.3, .round = 2, .ffn_sizes = {30, 31}};
  // Three windows of each text: none for choices. Γ is given, for its targets are sampled by window.
  const Tensor one = random_tokens(config, 3, 16, 1), two = random_tokens(config, 3, 16, 2);
  const auto logits = [&](const CalibrationWindows& windows) {
    Model model = random_model(config);
    model.decoder().prepare_head();
    ModelAdapter adapter = model.decoder().adapter();
    const auto gammas = gradient_covariances(adapter, one);
    refit_model(adapter, windows, options, {}, gammas);
    const at::NoGradGuard no_grad;
    model.decoder().set_sliced(plan_stream_sizes(config.hidden_size, config.sites(), options),
                               ShortcutForm::kNone);
    model.decoder().set_ffn_sizes(options.ffn_sizes);
    return model.decoder().forward(random_tokens(config, 2, 12, 7));
  };
  const Tensor want = logits(at::cat({one, two}));
  const std::vector<int64_t> text_of = {0, 0, 0, 1, 1, 1};
  const auto weighted = [&](double a, double b) {
    return logits(CalibrationWindows(at::cat({one, two}), {{"one", a}, {"two", b}}, text_of));
  };
  CHECK(relative_difference(weighted(2, 2), want) < kSameSlicing);
  CHECK(relative_difference(weighted(1, 5), want) > kSameSlicing);
  // Three times the second text, window by window, is its weight of three.
  const Tensor repeated = at::cat({one, two, two, two});
  std::vector<int64_t> alone(12);  // as twelve texts of a window: all are fitted
  std::iota(alone.begin(), alone.end(), 0);
  const Tensor thrice =
      logits(CalibrationWindows(repeated, std::vector<CalibrationText>(12), alone));
  CHECK(relative_difference(weighted(1, 3), thrice) < kSameSlicing);
}

}  // namespace
}  // namespace slice
