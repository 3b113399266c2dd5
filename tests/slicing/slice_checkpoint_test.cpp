#include "libslice/slicing/slice_checkpoint.h"

#include <ATen/ATen.h>
#include <c10/util/accumulate.h>
#include <fmt/core.h>

#include <algorithm>
#include <catch2/catch_all.hpp>
#include <fstream>
#include <limits>
#include <tuple>

#include "libslice/base/detail/file.h"
#include "libslice/base/error.h"
#include "libslice/checkpoint/stock.h"
#include "libslice/method/signal.h"
#include "libslice/slicing/candidates.h"
#include "libslice/slicing/cost.h"
#include "libslice/slicing/slice_model.h"
#include "tests/support/directory_contents.h"
#include "tests/support/end_tokens.h"
#include "tests/support/file_limit.h"
#include "tests/support/matchers.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

namespace fs = std::filesystem;
using at::Tensor;
using namespace tests;

/// Numbers in the tensors of a directory.
int64_t stored_numbers(const fs::path& directory) {
  const auto checkpoint = open_checkpoint(directory);
  int64_t numbers = 0;
  for (const auto& [name, entry] : checkpoint->tensors())
    numbers += c10::multiply_integers(entry.shape);
  return numbers;
}

constexpr int64_t kShardBytes = 4000;  // several a model

std::vector<ModelConfig> every_shape() {
  std::vector<ModelConfig> configs = tiny_configs();
  for (const ModelConfig& config : tiny_families()) configs.push_back(config);
  return configs;
}

/// What slicing in memory writes.
SliceReport slice_whole(const fs::path& source, const Tensor& tokens, const SliceOptions& options,
                        const fs::path& target, at::Device device) {
  Model model = load_model(source, {.device = device});
  SliceReport report = slice_model(model, tokens, options);
  save_model(model, target, {.shard_bytes = kShardBytes});
  return report;
}

void check_same_files(const ModelConfig& config, const SliceOptions& options, at::Device device,
                      at::ScalarType stored) {
  CAPTURE(tests::describe(config), options.method == Method::kRefit, options.slice,
          shortcut_name(options.shortcut_form()), options.head == HeadMode::kSlice);
  const TemporaryDirectory scratch;
  save_model(random_model(config, 5, stored), scratch.path() / "dense");
  const Tensor tokens = random_tokens(config, 9, 16);
  const SliceReport whole =
      slice_whole(scratch.path() / "dense", tokens, options, scratch.path() / "whole", device);
  fs::create_directory(scratch.path() / "streamed");
  const auto checkpoint = open_checkpoint(scratch.path() / "dense");
  const SliceReport report =
      slice_checkpoint(*checkpoint, tokens, options, scratch.path() / "streamed",
                       {.device = device, .shard_bytes = kShardBytes}, nullptr);
  const ModelConfig planned = planned_config(config, options);
  CHECK(report.after.total == count_parameters(written_config(planned)).total);
  CHECK(report.after.total == stored_numbers(scratch.path() / "streamed"));
  CHECK(expected_layerwise_cost(*checkpoint, planned, options.method, tokens.numel(), 16, {})
            .disk_bytes == report.after.total * static_cast<int64_t>(c10::elementSize(stored)));
  CHECK(report.sites.size() == report.stream_sizes.size());
  CHECK(report.ffn_sizes == planned.ffn_widths());
  REQUIRE(report.texts.size() == 1);
  CHECK(report.texts[0].held_out_before.has_value() == (options.method == Method::kRefit));
  if (device.is_cpu()) {
    CHECK(report.texts[0].held_out_before == whole.texts.at(0).held_out_before);
    CHECK(report.texts[0].held_out_after == whole.texts.at(0).held_out_after);
  }
  const auto want = contents(scratch.path() / "whole");
  const auto got = contents(scratch.path() / "streamed");
  CHECK(want.size() > 3);  // shards, index, two configurations; the modeling file of some
  REQUIRE(got.size() == want.size());
  for (const auto& [name, bytes] : want) {
    CAPTURE(name);
    REQUIRE(got.contains(name));
    CHECK(got.at(name) == bytes);
  }
}

void check_same_files(at::Device device, at::ScalarType stored) {
  for (const ModelConfig& config : every_shape()) {
    for (const HeadMode head : {HeadMode::kKeep, HeadMode::kSlice}) {
      check_same_files(config,
                       {.method = Method::kSliceGpt, .slice = 0.3, .round = 1, .head = head},
                       device, stored);
    }
  }
}

/// Every family without shortcuts, its head sliced or not, and at k = D; deeper ones, whose
/// gradients take several runs.
void check_refit_is_the_same(at::Device device, at::ScalarType stored) {
  for (ModelConfig config : every_shape()) {
    SliceOptions options{.slice = 0.3, .round = 2};
    options.ffn_sizes.assign(config.layers, config.ffn_size - 3);
    check_same_files(config, options, device, stored);
    options.head = HeadMode::kSlice;  // the stock form of most
    check_same_files(config, options, device, stored);
    options.ffn_sizes.back() -= 2;  // and of none
    check_same_files(config, options, device, stored);
    options.ffn_sizes.back() += 2;
    options.recover = 1;
    check_same_files(config, options, device, stored);
    options.slice = 0;
    check_same_files(config, options, device, stored);
    options.recover = 0;
    check_same_files(config, options, device, stored);
  }
  ModelConfig deep = tiny_config();
  deep.layers = 5;
  for (const ShortcutForm form : {ShortcutForm::kDense, ShortcutForm::kLowRank}) {
    const int64_t rank = form == ShortcutForm::kLowRank ? 2 : 0;
    for (const HeadMode head : {HeadMode::kKeep, HeadMode::kSlice}) {
      check_same_files(
          deep, {.slice = 0.3, .round = 2, .head = head, .shortcut = form, .shortcut_rank = rank},
          device, stored);
    }
  }
}

TEST_CASE("layer by layer gives the bytes that slicing in memory gives") {
  check_same_files(at::kCPU, at::kFloat);
}

TEST_CASE("layer by layer gives the same bytes from half-precision weights") {
  check_same_files(at::kCPU, at::kBFloat16);
}

TEST_CASE("layer by layer keeps every end token and the sampling defaults of its source") {
  const TemporaryDirectory scratch;
  const fs::path source = write_three_ends(scratch.path() / "source"),
                 whole = scratch.path() / "whole", layerwise = scratch.path() / "layerwise";
  const auto checkpoint = open_checkpoint(source);
  const auto tokenizer = load_tokenizer(source);
  const Tensor tokens = random_tokens(checkpoint->config(), 9, 16);
  const SliceOptions options = {.method = Method::kSliceGpt, .slice = 0.3, .round = 1};
  slice_whole(source, tokens, options, whole, at::kCPU);
  fs::create_directory(layerwise);
  slice_checkpoint(*checkpoint, tokens, options, layerwise, {.device = at::kCPU}, tokenizer.get());
  check_three_ends(layerwise);
  for (const char* name : {"config.json", "generation_config.json", "tokenizer_config.json"}) {
    CAPTURE(name);
    CHECK(contents(layerwise).at(name) == contents(whole).at(name));
  }
}

TEST_CASE("layer by layer refit gives the bytes that it gives in memory") {
  check_refit_is_the_same(at::kCPU, at::kFloat);
}

void check_same_candidates(const SliceReport& got, const SliceReport& want) {
  REQUIRE(got.candidates.size() == want.candidates.size());
  for (size_t i = 0; i < want.candidates.size(); ++i) {
    const Candidate &a = got.candidates[i], &b = want.candidates[i];
    CHECK(a.kept == b.kept);
    CHECK(a.ffn_sizes == b.ffn_sizes);
    CHECK(std::tuple(a.even, a.stock, a.tied) == std::tuple(b.even, b.stock, b.tied));
    CHECK(a.after.total == b.after.total);
    CHECK(a.after.read == b.after.read);
    CHECK(a.loss == b.loss);
  }
}

TEST_CASE("layer by layer a budget gives the plan and the files that it gives in memory") {
  ModelConfig deep = tiny_config();
  deep.layers = 5;
  const std::vector<ModelConfig> families = tiny_families();
  for (const ModelConfig& config : {deep, tiny_configs()[1], families[2], families[3]}) {
    for (const SliceOptions& options :
         {SliceOptions{.round = 2, .remove_blocks = 0.2},
          SliceOptions{.round = 2, .remove = 0.15, .layout = Layout::kStock}}) {
      CAPTURE(tests::describe(config), options.remove.has_value());
      const TemporaryDirectory scratch;
      save_model(random_model(config, 5, at::kFloat), scratch.path() / "dense");
      const Tensor tokens = random_tokens(config, 16, 16);
      SliceReport whole = slice_whole(scratch.path() / "dense", tokens, options,
                                      scratch.path() / "whole", at::kCPU);
      std::erase_if(whole.candidates, [&](const Candidate& c) {  // these are left out
        return c.tied && c.kept < config.hidden_size;
      });
      fs::create_directory(scratch.path() / "layerwise");
      const auto checkpoint = open_checkpoint(scratch.path() / "dense");
      const SliceReport report =
          slice_checkpoint(*checkpoint, tokens, options, scratch.path() / "layerwise",
                           {.shard_bytes = kShardBytes}, nullptr);
      check_same_candidates(report, whole);
      CHECK(report.after.total == whole.after.total);
      CHECK(report.tied == whole.tied);
      CHECK(report.search_seconds > 0);
      CHECK(contents(scratch.path() / "layerwise") == contents(scratch.path() / "whole"));
    }
  }
}

TEST_CASE("layer by layer no plan keeps the tie of an embedding that is rotated") {
  const ModelConfig config = tiny_configs()[1];  // tied
  const SliceOptions options{.round = 2, .remove = 0.05, .layout = Layout::kFree};
  const TemporaryDirectory scratch;
  save_model(random_model(config, 5, at::kFloat), scratch.path() / "dense");
  const auto rotated = [&](const Candidate& c) { return c.tied && c.kept < config.hidden_size; };
  const std::vector<Candidate> all = candidates(config, options);
  REQUIRE(std::ranges::any_of(all, rotated));
  fs::create_directory(scratch.path() / "sliced");
  const auto checkpoint = open_checkpoint(scratch.path() / "dense");
  const SliceReport report = slice_checkpoint(*checkpoint, random_tokens(config, 16, 16), options,
                                              scratch.path() / "sliced", {}, nullptr);
  CHECK(std::ranges::none_of(report.candidates, rotated));
  CHECK(std::ssize(report.candidates) == std::ssize(all) - std::ranges::count_if(all, rotated));
}

TEST_CASE(
    "layer by layer a stock form was described as one, and its weights were those of another") {
  for (const at::ScalarType stored : {at::kFloat, at::kBFloat16}) {
    for (const ModelConfig& config : {tiny_config(), tiny_families()[3]}) {
      CAPTURE(tests::describe(config));
      const TemporaryDirectory scratch;
      save_model(random_model(config, 5, stored), scratch.path() / "dense");
      const auto checkpoint = open_checkpoint(scratch.path() / "dense");
      fs::create_directory(scratch.path() / "sliced");
      const SliceOptions options{.slice = 0.3, .head = HeadMode::kSlice};
      slice_checkpoint(*checkpoint, random_tokens(config, 9, 16), options,
                       scratch.path() / "sliced", {}, nullptr);
      const Model again = load_model(scratch.path() / "sliced");
      CHECK_FALSE(again.config().sliced());
      CHECK(again.config().hidden_size == 16);  // of 24, in multiples of 8
      CHECK(contents(scratch.path() / "sliced").size() == 3);
    }
  }
}

TEST_CASE("slicegpt wrote a model of uneven widths as if every layer had the widest's") {
  for (const ModelConfig& even : {tiny_config(), tiny_families()[2], tiny_families()[3]}) {
    std::vector<int64_t> widths, fewer;
    for (int64_t layer = 0; layer < even.layers; ++layer) {
      widths.push_back(even.ffn_size - 2 - 9 * layer);  // the widest is narrower than ffn_size
      fewer.push_back(widths.back() - 3);
    }
    const ModelConfig config = narrowed_config(even, widths);
    for (const HeadMode head : {HeadMode::kKeep, HeadMode::kSlice}) {
      check_same_files(config,
                       {.method = Method::kSliceGpt, .slice = 0.3, .round = 1, .head = head},
                       at::kCPU, at::kFloat);
    }
    check_same_files(config, {.slice = 0.3, .round = 2}, at::kCPU, at::kFloat);
    check_same_files(config, {.slice = 0, .ffn_sizes = fewer}, at::kCPU, at::kFloat);
  }
}

TEST_CASE("on a GPU layer by layer gives the bytes that slicing in memory gives", "[cuda]") {
  if (!at::hasCUDA() || at::getNumGPUs() == 0) SKIP("no CUDA device");
  check_same_files(at::Device(at::kCUDA, 0), at::kHalf);
}

/// The same files, wherever the signal lives, and nothing else beside them.
void check_places(at::Device device, at::ScalarType stored) {
  for (const Method method : {Method::kSliceGpt, Method::kRefit}) {
    const ModelConfig config = tiny_config();
    const TemporaryDirectory scratch;
    save_model(random_model(config, 5, stored), scratch.path() / "dense");
    const auto checkpoint = open_checkpoint(scratch.path() / "dense");
    const Tensor tokens = random_tokens(config, 9, 16);
    std::map<std::string, std::string> want;
    for (const SignalPlace place : {SignalPlace::kDevice, SignalPlace::kHost, SignalPlace::kDisk}) {
      CAPTURE(device.str(), method == Method::kRefit, signal_place_name(place));
      const fs::path target = scratch.path() / signal_place_name(place);
      fs::create_directory(target);
      std::vector<std::string> notes;
      const SliceReport report = slice_checkpoint(
          *checkpoint, tokens,
          {.method = method, .slice = 0.3, .round = 1, .chunk_tokens = 32, .signal_place = place},
          target, {.device = device, .shard_bytes = kShardBytes}, nullptr, [&](const Progress& p) {
            if (!p.note.empty()) notes.push_back(p.note);
          });
      CHECK(report.signal == signal_place_name(place));
      const size_t streams = method == Method::kRefit ? 2 : 1;
      CHECK(notes.size() == (place == SignalPlace::kDevice ? 0 : streams));
      if (place == SignalPlace::kDevice) want = contents(target);
      CHECK(contents(target) == want);
    }
  }
}

TEST_CASE("layer by layer gives the same bytes wherever the signal lives") {
  check_places(at::kCPU, at::kFloat);
}

TEST_CASE("on a GPU layer by layer gives the same bytes wherever the signal lives", "[cuda]") {
  if (!at::hasCUDA() || at::getNumGPUs() == 0) SKIP("no CUDA device");
  check_places(at::Device(at::kCUDA, 0), at::kHalf);
}

TEST_CASE("layer by layer a weight that is no number is named") {
  const ModelConfig config = tiny_config();
  const TemporaryDirectory scratch;
  Model model = random_model(config, 1, at::kFloat);
  const at::NoGradGuard no_grad;
  for (auto& parameter : model.decoder().named_parameters()) {
    if (parameter.key() == "model.layers.1.mlp.down_proj.weight")
      parameter.value().view(-1)[3] = std::numeric_limits<float>::quiet_NaN();
  }
  save_model(model, scratch.path() / "dense");
  fs::create_directory(scratch.path() / "sliced");
  const auto checkpoint = open_checkpoint(scratch.path() / "dense");
  CHECK_THROWS_WITH(
      slice_checkpoint(*checkpoint, random_tokens(config, 2, 16), {.method = Method::kSliceGpt},
                       scratch.path() / "sliced", {}, nullptr),
      Catch::Matchers::ContainsSubstring("model.layers.1.mlp.down_proj.weight"));
}

TEST_CASE("layer by layer refuses what it cannot do before anything is written") {
  const ModelConfig config = tiny_config();
  const TemporaryDirectory scratch;
  save_model(random_model(config, 1, at::kFloat), scratch.path() / "dense");
  const auto checkpoint = open_checkpoint(scratch.path() / "dense");
  fs::create_directory(scratch.path() / "sliced");
  const Tensor tokens = random_tokens(config, 2, 16);
  const auto attempt = [&](const SliceOptions& options, const Tensor& ids) {
    slice_checkpoint(*checkpoint, ids, options, scratch.path() / "sliced", {}, nullptr);
  };
  CHECK_THROWS_NAMING(attempt({.method = Method::kSliceGpt, .remove = 0.2}, tokens), ArgumentError,
                      "no search");
  CHECK_THROWS_NAMING(attempt({.remove = 0.2}, tokens), ArgumentError, "eight windows");
  CHECK_THROWS_NAMING(attempt({.shortcut = ShortcutForm::kDiagonal}, tokens), ArgumentError,
                      "diagonal");
  CHECK_THROWS_NAMING(attempt({.keep_tie = true}, tokens), ArgumentError, "kept tie");
  CHECK_THROWS_AS(attempt({.method = Method::kSliceGpt, .slice = 1.5}, tokens), ArgumentError);
  CHECK_THROWS_AS(attempt({.method = Method::kSliceGpt}, tokens.to(at::kInt)), ShapeError);
  CHECK_THROWS_AS(attempt({.method = Method::kSliceGpt}, tokens + config.vocabulary_size),
                  ArgumentError);
  CHECK(fs::is_empty(scratch.path() / "sliced"));
}

// ---- Resuming

class Stopped : public std::runtime_error {
 public:
  Stopped() : std::runtime_error("stopped") {}
};

struct Setup {
  fs::path source, files, journal;
  Tensor tokens;
  SliceOptions options;
  LayerwiseOptions pass;
};

SliceReport attempt(const Setup& s, int64_t words) {
  const auto checkpoint = open_checkpoint(s.source);
  LayerwiseOptions pass = s.pass;
  pass.journal = s.journal;
  return slice_checkpoint(*checkpoint, s.tokens, s.options, s.files, pass, nullptr,
                          [&](const Progress& p) {
                            if (p.phase == "slice" && words-- == 0) throw Stopped();
                          });
}

void check_same_report(const SliceReport& resumed, const SliceReport& whole) {
  REQUIRE(resumed.sites.size() == whole.sites.size());
  for (size_t i = 0; i < whole.sites.size(); ++i) {
    CHECK(resumed.sites[i].index == whole.sites[i].index);
    CHECK(resumed.sites[i].name == whole.sites[i].name);
    CHECK(resumed.sites[i].hidden_size == whole.sites[i].hidden_size);
    CHECK(resumed.sites[i].kept_variance == whole.sites[i].kept_variance);
    CHECK(resumed.sites[i].recovered == whole.sites[i].recovered);
  }
  CHECK(resumed.ffn_sizes == whole.ffn_sizes);
  CHECK(resumed.chunk_tokens == whole.chunk_tokens);
  REQUIRE(resumed.texts.size() == whole.texts.size());
  for (size_t i = 0; i < whole.texts.size(); ++i) {
    CHECK(resumed.texts[i].held_out_before == whole.texts[i].held_out_before);
    CHECK(resumed.texts[i].held_out_after == whole.texts[i].held_out_after);
  }
}

/// A run is stopped at its loop's n-th word of progress, as often as it takes, each time `later`
/// words later; then it goes to its end.
SliceReport resume_to_the_end(const Setup& s, int64_t later) {
  fs::create_directory(s.files);
  fs::create_directory(s.journal);
  for (int64_t stops = 0;; ++stops) {
    try {
      const SliceReport report = attempt(s, stops * later);
      CHECK(stops >= 3);
      return report;
    } catch (const Stopped&) {
    }
  }
}

void check_going_on(const ModelConfig& config, const SliceOptions& options, at::Device device,
                    at::ScalarType stored, int64_t save_every, SignalPlace place) {
  const bool refit = options.method == Method::kRefit;
  CAPTURE(tests::describe(config), refit, shortcut_name(options.shortcut_form()), options.slice,
          options.head == HeadMode::kSlice, save_every);
  const TemporaryDirectory scratch;
  Setup s{.source = scratch.path() / "dense",
          .files = scratch.path() / "whole",
          .journal = {},
          .tokens = random_tokens(config, refit ? 9 : 3, 16),  // nine: some are held out
          .options = options,
          .pass = {.device = device, .shard_bytes = kShardBytes, .save_every = save_every}};
  save_model(random_model(config, 5, stored), s.source);
  fs::create_directory(s.files);
  const SliceReport whole = attempt(s, std::numeric_limits<int64_t>::max());
  const auto want = contents(s.files);

  s.options.signal_place = place;
  s.files = scratch.path() / "resumed";
  s.journal = scratch.path() / "journal";
  const SliceReport resumed = resume_to_the_end(s, refit ? 7 : 1);
  const auto got = contents(s.files);
  REQUIRE(got.size() == want.size());
  for (const auto& [name, bytes] : want) {
    CAPTURE(name);
    REQUIRE(got.contains(name));
    CHECK(got.at(name) == bytes);
  }
  check_same_report(resumed, whole);
  REQUIRE(resumed.resume);
  CHECK(resumed.resume->layers == config.layers + 2);
  CHECK(resumed.resume->disk_bytes > 0);
  CHECK((resumed.resume->signal_layer > 0) == (save_every < config.layers));
  if (!refit) CHECK(resumed.resume->layers_found > 1);
}

/// The configuration with so many layers, those above its last one like it.
ModelConfig with_layers(ModelConfig config, int64_t layers) {
  config.layers = layers;
  if (!config.window_layers.empty())
    config.window_layers.resize(static_cast<size_t>(layers), config.window_layers.back());
  return config;
}

void check_going_on(const std::vector<ModelConfig>& shapes, at::Device device,
                    at::ScalarType stored, int64_t save_every,
                    SignalPlace place = SignalPlace::kDevice) {
  for (const ModelConfig& shape : shapes) {
    const ModelConfig config = with_layers(shape, 4);
    for (const HeadMode head : {HeadMode::kKeep, HeadMode::kSlice}) {
      check_going_on(
          config,
          {.method = Method::kSliceGpt, .slice = 0.3, .round = 1, .head = head, .chunk_tokens = 32},
          device, stored, save_every, place);
    }
  }
}

/// Refit's: with bases and with FFN channels alone, without shortcuts and with dense ones.
void check_refit_goes_on(const std::vector<ModelConfig>& shapes, at::Device device,
                         at::ScalarType stored, int64_t save_every,
                         SignalPlace place = SignalPlace::kDevice) {
  for (const ModelConfig& shape : shapes) {
    const ModelConfig config = with_layers(shape, 4);
    SliceOptions options{.slice = 0.3, .round = 2, .head = HeadMode::kSlice, .chunk_tokens = 32};
    for (int64_t layer = 0; layer < config.layers; ++layer)
      options.ffn_sizes.push_back(config.ffn_size - 3 - layer);
    check_going_on(config, options, device, stored, save_every, place);
    options.slice = 0;
    check_going_on(config, options, device, stored, save_every, place);
    options = {.slice = 0.3, .round = 2, .shortcut = ShortcutForm::kDense, .chunk_tokens = 32};
    check_going_on(config, options, device, stored, save_every, place);
  }
}

/// A LLaMA with a tied head, and an OPT and a Phi: LayerNorms, learned positions, parallel blocks.
std::vector<ModelConfig> three_shapes() {
  const std::vector<ModelConfig> families = tiny_families();
  return {tiny_configs()[1], families[2], families[3]};
}

TEST_CASE("a run that was stopped at every chunk gives the files of one that was not") {
  check_going_on(every_shape(), at::kCPU, at::kFloat, 1);
}

TEST_CASE("the same with rare signals and half-precision weights") {
  check_going_on(three_shapes(), at::kCPU, at::kBFloat16, 2);
}

TEST_CASE("the same with a signal that is kept elsewhere when it is resumed") {
  check_going_on(three_shapes(), at::kCPU, at::kFloat, 1, SignalPlace::kHost);
  check_going_on(three_shapes(), at::kCPU, at::kFloat, 2, SignalPlace::kDisk);
}

TEST_CASE("the same from the tokens, with bases alone") {
  check_going_on(three_shapes(), at::kCPU, at::kFloat, 100);
}

TEST_CASE("a refit that was stopped at every few chunks gives the files of one that was not") {
  check_refit_goes_on(three_shapes(), at::kCPU, at::kFloat, 1);
}

TEST_CASE("a refit that trains is resumed to the same files and the same report") {
  ModelConfig config = tiny_configs()[1];
  config.layers = 4;
  SliceOptions options{.slice = 0, .chunk_tokens = 32};
  options.ffn_sizes.assign(4, config.ffn_size - 4);
  options.recover = 1;
  check_going_on(config, options, at::kCPU, at::kFloat, 1, SignalPlace::kDevice);
}

TEST_CASE(
    "layer by layer training without windows to judge it is refused before anything is kept") {
  const TemporaryDirectory scratch;
  Setup s{.source = scratch.path() / "dense",
          .files = scratch.path() / "files",
          .journal = scratch.path() / "journal",
          .tokens = random_tokens(tiny_config(), 3, 16),
          .options = {.slice = 0.3, .round = 2, .recover = 1},
          .pass = {}};
  save_model(random_model(tiny_config()), s.source);
  fs::create_directory(s.files);
  fs::create_directory(s.journal);
  CHECK_THROWS_NAMING(attempt(s, std::numeric_limits<int64_t>::max()), ArgumentError,
                      "to judge training on");
  CHECK_FALSE(fs::exists(s.journal / "gradients.safetensors"));
}

TEST_CASE("a refit does so with rare signals and half-precision weights, and with none saved") {
  const std::vector<ModelConfig> shapes = {tiny_config()};
  check_refit_goes_on(shapes, at::kCPU, at::kBFloat16, 2);
  check_refit_goes_on(shapes, at::kCPU, at::kFloat, 100);
  check_refit_goes_on(shapes, at::kCPU, at::kFloat, 1, SignalPlace::kDisk);
}

TEST_CASE("on a GPU a run that was stopped gives the files of one that was not", "[cuda]") {
  if (!at::hasCUDA() || at::getNumGPUs() == 0) SKIP("no CUDA device");
  check_going_on(every_shape(), at::Device(at::kCUDA, 0), at::kHalf, 1);
  check_going_on(three_shapes(), at::Device(at::kCUDA, 0), at::kFloat, 100);
  check_going_on(three_shapes(), at::Device(at::kCUDA, 0), at::kHalf, 1, SignalPlace::kHost);
  check_going_on(three_shapes(), at::Device(at::kCUDA, 0), at::kHalf, 1, SignalPlace::kDisk);
  check_refit_goes_on(three_shapes(), at::Device(at::kCUDA, 0), at::kFloat, 1);
}

TEST_CASE("a signal for which the disk has no room is left out, and that is said once") {
  ModelConfig config = tiny_config();
  config.layers = 4;
  const TemporaryDirectory scratch;
  Setup s{.source = scratch.path() / "dense",
          .files = scratch.path() / "files",
          .journal = scratch.path() / "journal",
          .tokens = random_tokens(config, 64, 16),
          .options = {.method = Method::kSliceGpt, .slice = 0.3, .round = 1},
          .pass = {.shard_bytes = kShardBytes, .save_every = 1}};
  save_model(random_model(config, 5, at::kFloat), s.source);
  fs::create_directory(s.files);
  fs::create_directory(s.journal);
  const FileLimit limit(static_cast<uint64_t>(s.tokens.numel()) * 16 * 4);  // the signal's rows
  const auto checkpoint = open_checkpoint(s.source);
  s.pass.journal = s.journal;
  std::vector<std::string> notes;
  const SliceReport report = slice_checkpoint(*checkpoint, s.tokens, s.options, s.files, s.pass,
                                              nullptr, [&](const Progress& p) {
                                                if (!p.note.empty()) notes.push_back(p.note);
                                              });
  REQUIRE(notes.size() == 1);
  CHECK(notes[0].find("no room to save the signal") != std::string::npos);
  CHECK(notes[0].find("signal-00002.safetensors") != std::string::npos);
  REQUIRE(report.resume);
  CHECK(report.resume->saves == 0);
  CHECK(load_model(s.files).config().stream_sizes.size() == 9);
}

constexpr int64_t kToTheEnd = std::numeric_limits<int64_t>::max();

/// A run of the tiny model that was stopped in its second layer.
Setup stopped_run(const TemporaryDirectory& scratch, int64_t save_every = 1,
                  Method method = Method::kSliceGpt) {
  const bool refit = method == Method::kRefit;
  const ModelConfig config = tiny_config();
  save_model(random_model(config, 1, at::kFloat), scratch.path() / "dense");
  Setup s{.source = scratch.path() / "dense",
          .files = scratch.path() / "files",
          .journal = scratch.path() / "journal",
          .tokens = random_tokens(config, refit ? 9 : 3, 16),
          .options = {.method = method, .slice = 0.3, .round = 1, .chunk_tokens = 32},
          .pass = {.save_every = save_every}};
  fs::create_directory(s.files);
  fs::create_directory(s.journal);
  int64_t words = 4;
  if (refit) {  // those of the first layer
    words = 0;
    const fs::path counted = scratch.path() / "counted";
    fs::create_directory(counted);
    const auto checkpoint = open_checkpoint(s.source);
    slice_checkpoint(
        *checkpoint, s.tokens, s.options, counted, s.pass, nullptr,
        [&](const Progress& p) { words += p.phase == "slice" && p.step <= 3 ? 1 : 0; });
  }
  CHECK_THROWS_AS(attempt(s, words), Stopped);
  CHECK(fs::exists(s.journal / "run.json"));
  return s;
}

TEST_CASE("resuming with another checkpoint, calibration, plan or dtype is refused by name") {
  const TemporaryDirectory scratch;
  const Setup s = stopped_run(scratch);
  const auto before = contents(s.files);
  const auto kept = contents(s.journal);
  Setup other = s;
  other.tokens = random_tokens(tiny_config(), 3, 16, 2);
  CHECK_THROWS_NAMING(attempt(other, kToTheEnd), Error, "another calibration");
  other = s;
  other.tokens = s.tokens.view({2, 24});
  CHECK_THROWS_NAMING(attempt(other, kToTheEnd), Error, "another calibration");
  other = s;
  other.options.slice = 0.4;
  CHECK_THROWS_NAMING(attempt(other, kToTheEnd), Error, "another plan");
  other = s;
  other.options.head = HeadMode::kSlice;
  CHECK_THROWS_NAMING(attempt(other, kToTheEnd), Error, "another plan");
  other = s;
  other.pass.written = at::kHalf;
  CHECK_THROWS_NAMING(attempt(other, kToTheEnd), Error, "another dtype");
  other = s;
  other.pass.shard_bytes = 999;
  CHECK_THROWS_NAMING(attempt(other, kToTheEnd), Error, "another shard size");
  other = s;
  other.source = scratch.path() / "other";
  save_model(random_model(tiny_config(), 2, at::kFloat), other.source);
  CHECK_THROWS_NAMING(attempt(other, kToTheEnd), Error, "another checkpoint");
  CHECK(contents(s.files) == before);
  CHECK(contents(s.journal) == kept);
  fs::copy(s.source, scratch.path() / "moved", fs::copy_options::recursive);  // the same elsewhere
  other = s;
  other.source = scratch.path() / "moved";
  CHECK_NOTHROW(attempt(other, kToTheEnd));
}

TEST_CASE("a refit is not resumed with other texts, gradients or channels, nor as another method") {
  const TemporaryDirectory scratch;
  const Setup s = stopped_run(scratch, 1, Method::kRefit);
  const auto kept = contents(s.journal);
  CHECK(kept.contains("gradients.safetensors"));
  CHECK(kept.contains("signal-00002.safetensors"));
  const auto refuse = [&](const std::string& what, const SliceOptions& options) {
    Setup other = s;
    other.options = options;
    CHECK_THROWS_NAMING(attempt(other, kToTheEnd), Error, "another " + what);
  };
  SliceOptions options = s.options;
  options.ffn_sizes = {38, 37};
  refuse("plan", options);
  options = s.options;
  options.shortcut = ShortcutForm::kDense;
  refuse("plan", options);
  options = s.options;
  options.seed = 5;
  refuse("choice of gradients", options);
  options = s.options;
  options.gradient_samples = 2;
  refuse("choice of gradients", options);
  options = s.options;
  options.method = Method::kSliceGpt;
  refuse("method", options);
  const auto checkpoint = open_checkpoint(s.source);
  LayerwiseOptions pass = s.pass;
  pass.journal = s.journal;
  const std::vector<int64_t> half = {0, 0, 0, 0, 0, 1, 1, 1, 1};
  CHECK_THROWS_NAMING(
      slice_checkpoint(*checkpoint, CalibrationWindows(s.tokens, {{"a"}, {"b"}}, half), s.options,
                       s.files, pass, nullptr),
      Error, "another share of the texts");
  CHECK(contents(s.journal) == kept);
}

TEST_CASE("a refit that is resumed takes no gradients again, and says what it found") {
  const TemporaryDirectory scratch;
  const Setup s = stopped_run(scratch, 1, Method::kRefit);
  std::vector<std::string> phases, notes;
  const auto checkpoint = open_checkpoint(s.source);
  LayerwiseOptions pass = s.pass;
  pass.journal = s.journal;
  const SliceReport report = slice_checkpoint(
      *checkpoint, s.tokens, s.options, s.files, pass, nullptr, [&](const Progress& p) {
        if (!p.note.empty()) {
          notes.push_back(p.note);
        } else if (phases.empty() || phases.back() != p.phase) {
          phases.push_back(p.phase);
        }
      });
  CHECK(phases == std::vector<std::string>{"slice"});
  REQUIRE(notes.size() == 2);
  CHECK(notes[0].find("gradient covariances are on the disk") != std::string::npos);
  CHECK(notes[1].find("2 of 4 layers are on the disk, the signal before model.layers.1.") !=
        std::string::npos);
  REQUIRE(report.resume);
  CHECK(report.resume->layers_found == 2);
}

TEST_CASE("a search that was stopped is gone on with: it keeps gradients, and then its plan") {
  const ModelConfig config = tiny_config();
  const TemporaryDirectory scratch;
  Setup s{.source = scratch.path() / "dense",
          .files = scratch.path() / "whole",
          .journal = {},
          .tokens = random_tokens(config, 16, 16),
          .options = {.round = 2, .remove_blocks = 0.2, .chunk_tokens = 64},
          .pass = {.shard_bytes = kShardBytes, .save_every = 1}};
  save_model(random_model(config, 5, at::kFloat), s.source);
  const auto checkpoint = open_checkpoint(s.source);
  std::map<std::string, int64_t> words;  // of each phase
  std::vector<std::string> phases, notes;
  std::string stopped;  // phase in the middle of which a run is stopped
  const auto run = [&] {
    fs::create_directories(s.files);
    std::map<std::string, int64_t> heard;
    phases.clear();
    notes.clear();
    LayerwiseOptions pass = s.pass;
    pass.journal = s.journal;
    return slice_checkpoint(*checkpoint, s.tokens, s.options, s.files, pass, nullptr,
                            [&](const Progress& p) {
                              if (!p.note.empty()) return notes.push_back(p.note);
                              if (phases.empty() || phases.back() != p.phase)
                                phases.push_back(p.phase);
                              if (++heard[p.phase] == words[p.phase] / 2 && p.phase == stopped)
                                throw Stopped();
                              if (stopped.empty()) ++words[p.phase];
                            });
  };
  const SliceReport whole = run();
  const auto want = contents(s.files);
  const std::vector<std::string> all = {"gradients", "channels", "search", "slice"};
  REQUIRE(phases == all);

  s.files = scratch.path() / "resumed";
  s.journal = scratch.path() / "journal";
  fs::create_directory(s.journal);
  for (const std::string& phase : all) {
    CAPTURE(phase);
    stopped = phase;
    CHECK_THROWS_AS(run(), Stopped);
    CHECK((phases.front() == "gradients") == (phase == "gradients" || phase == "channels"));
  }
  stopped = "none";
  SliceOptions other = s.options;
  other.remove_blocks = 0.21;
  std::swap(s.options, other);
  CHECK_THROWS_NAMING(run(), Error, "another plan");
  std::swap(s.options, other);
  const SliceReport resumed = run();
  CHECK(phases == std::vector<std::string>{"slice"});
  REQUIRE(notes.size() >= 2);
  CHECK(notes[0].find("gradient covariances are on the disk") != std::string::npos);
  CHECK(notes[1].find("the plan is on the disk") != std::string::npos);
  CHECK(contents(s.files) == want);
  check_same_candidates(resumed, whole);
  check_same_report(resumed, whole);
}

TEST_CASE("resuming over files that are missing or were cut says which") {
  const TemporaryDirectory scratch;
  const Setup s = stopped_run(scratch);
  fs::resize_file(s.files / "model.safetensors", 3000);
  CHECK_THROWS_NAMING(attempt(s, kToTheEnd), Error, "model.safetensors");
  fs::remove(s.files / "model.safetensors");
  CHECK_THROWS_NAMING(attempt(s, kToTheEnd), FormatError, "model.safetensors");
  detail::write_file(s.journal / "run.json", "{");
  CHECK_THROWS_NAMING(attempt(s, kToTheEnd), FormatError, "run.json");
}

TEST_CASE("what the journal holds is that of the last signal and the layers after it") {
  const TemporaryDirectory scratch;
  const Setup s = stopped_run(scratch);
  attempt(s, kToTheEnd);
  std::vector<std::string> names;
  for (const auto& [name, bytes] : contents(s.journal)) names.push_back(name);
  CHECK(names == std::vector<std::string>{"layer-00002.safetensors", "layer-00003.safetensors",
                                          "run.json", "signal-00002.safetensors"});
}

/// Other bytes in the middle of a file.
void damage(const fs::path& path) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(static_cast<std::streamoff>(fs::file_size(path) / 2));
  file << "\x01\x02\x03\x04\x05\x06\x07\x08";
}

TEST_CASE("a journal or a shard that was changed since is not resumed with") {
  const int64_t save_every = GENERATE(1, 1000);  // a signal, and layers' files alone
  const Method method = GENERATE(Method::kSliceGpt, Method::kRefit);
  const TemporaryDirectory scratch;
  const Setup s = stopped_run(scratch, save_every, method);
  const auto files = contents(s.files), journal = contents(s.journal);
  const auto restore = [&] {
    for (const auto& [name, bytes] : files) detail::write_file(s.files / name, bytes);
    for (const auto& [name, bytes] : journal) detail::write_file(s.journal / name, bytes);
  };
  int64_t sealed = 0;
  for (const auto& [name, bytes] : journal) {
    if (name == "run.json") continue;
    CAPTURE(name);
    damage(s.journal / name);
    CHECK_THROWS_NAMING(attempt(s, kToTheEnd), FormatError, name + ": damaged");
    restore();
    fs::resize_file(s.journal / name, bytes.size() - 1);
    CHECK_THROWS_NAMING(attempt(s, kToTheEnd), FormatError, name);
    restore();
    ++sealed;
  }
  CHECK(sealed >= 1);
  damage(s.files / "model.safetensors");
  {  // the middle may not be written yet: the embedding is
    std::fstream file(s.files / "model.safetensors", std::ios::in | std::ios::out);
    uint64_t header = 0;
    file.read(reinterpret_cast<char*>(&header), sizeof header);
    file.seekp(static_cast<std::streamoff>(sizeof header + header + 100));
    file << "\x01\x02\x03\x04";
  }
  if (method == Method::kSliceGpt || save_every == 1)  // else they are written anew
    CHECK_THROWS_NAMING(attempt(s, kToTheEnd), FormatError, "damaged: the tensors from");
  restore();
  attempt(s, kToTheEnd);
}

TEST_CASE("a layer's file that was removed is made again, and foreign files are no journal") {
  const TemporaryDirectory scratch;
  const Setup s = stopped_run(scratch, /*save_every=*/1000);
  Setup whole = s;
  whole.files = scratch.path() / "whole";
  whole.journal = scratch.path() / "none";
  fs::create_directory(whole.files);
  fs::create_directory(whole.journal);
  attempt(whole, kToTheEnd);
  int64_t last = -1;
  for (const auto& [name, bytes] : contents(s.journal))
    if (name.starts_with("layer-")) last = std::max(last, int64_t{std::stoll(name.substr(6))});
  REQUIRE(last >= 0);
  fs::remove(s.journal / fmt::format("layer-{:05}.safetensors", last));
  for (const char* name :
       {"layer-abc.safetensors", "layer-.safetensors", "layer-7.safetensors",
        "layer--0001.safetensors", "layer-99999999999999999999.safetensors",
        "layer-00999.safetensors", "signal-abc.safetensors", "signal-00999.safetensors", "notes"})
    detail::write_file(s.journal / name, "no tensors");
  attempt(s, kToTheEnd);
  const auto got = contents(s.files), want = contents(whole.files);
  CHECK(got.at("model.safetensors") == want.at("model.safetensors"));
  CHECK(detail::read_text_file(s.journal / "notes") == "no tensors");
}

}  // namespace
}  // namespace slice
