// Models with a norm on what every sublayer writes: the stream stays, channels go, and writers are
// refitted through the norm.

#include <ATen/ATen.h>

#include <algorithm>
#include <catch2/catch_all.hpp>
#include <cmath>
#include <filesystem>
#include <limits>
#include <vector>

#include "libslice/base/error.h"
#include "libslice/checkpoint/model.h"
#include "libslice/checkpoint/output_form.h"
#include "libslice/decode/generator.h"
#include "libslice/method/calibration_windows.h"
#include "libslice/method/channels.h"
#include "libslice/method/fuse.h"
#include "libslice/method/rotate.h"
#include "libslice/model/decoder.h"
#include "libslice/slicing/candidates.h"
#include "libslice/slicing/detail/refit_model.h"
#include "libslice/slicing/slice_checkpoint.h"
#include "libslice/slicing/slice_model.h"
#include "tests/support/directory_contents.h"
#include "tests/support/error_bounds.h"
#include "tests/support/matchers.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

using at::Tensor;
using namespace tests;

constexpr double kRidges[] = {1e-4, 1e-3, 1e-2, 1e-1};  // of which a refit chooses
constexpr double kChannelRidge = 1e-4;

/// A tiny model with a norm on every output, and with or without one before every sublayer.
struct NormedModel {
  explicit NormedModel(NormPlace place, at::ScalarType dtype = at::kDouble)
      : model(random_model(config(), 1, dtype)), adapter(model.decoder().adapter()) {
    const int64_t D = adapter.hidden_size;
    uint64_t seed = 70;
    for (Sublayer& s : adapter.sublayers) {
      if (place == NormPlace::kAfter) s.norm = Norm(NormKind::kNone, D, 0.0);
      s.out_norm = RmsNorm(D, 1e-6);
      s.out_norm->weight.set_data((1 + 0.4 * gaussian({D}, ++seed)).to(dtype));
    }
  }

  static ModelConfig config() { return tiny_config(); }

  Tensor signal(const Tensor& tokens, size_t sublayers) const {
    Tensor x = adapter.embed(tokens);
    for (size_t i = 0; i < sublayers; ++i) x = adapter.sublayers[i].forward(x);
    return x;
  }
  Tensor logits(const Tensor& tokens) const {
    return model.decoder().logits(signal(tokens, adapter.sublayers.size()));
  }

  Model model;
  ModelAdapter adapter;
};

constexpr NormPlace kPlaces[] = {NormPlace::kBoth, NormPlace::kAfter};

TEST_CASE("a norm on the output divides what all writers add to the stream") {
  for (const NormPlace place : kPlaces) {
    const NormedModel m(place);
    const Sublayer& s = m.adapter.sublayers[1];
    const Tensor x = gaussian({2, 5, m.adapter.hidden_size}, 3);
    const Tensor read = place == NormPlace::kAfter ? x : s.norm->forward(x);
    const Tensor o = at::linear(s.branches[0].hidden(read, nullptr), s.branches[0].writer.weight);
    const Tensor r = (o.square().mean(-1, true) + 1e-6).sqrt();
    const double allowance = network_allowance(NormedModel::config().ffn_size, 1, at::kDouble);
    CHECK(relative_difference(s.output(x), o) < allowance);
    CHECK(relative_difference(s.out_norm->divisor(o), r) < allowance);
    CHECK(relative_difference(s.forward(x), x + o / r * s.out_norm->weight) < allowance);
    CHECK(bit_difference(s.after(x, s.output(x)), s.forward(x)) == "");
  }
}

TEST_CASE("fusing leaves norms on outputs alone and keeps the function") {
  for (const NormPlace place : kPlaces) {
    NormedModel m(place);
    m.model.decoder().prepare_head();
    const Tensor tokens = random_tokens(NormedModel::config(), 2, 15), before = m.logits(tokens);
    const Tensor gamma = m.adapter.sublayers[0].out_norm->weight.clone();
    fuse_norms(m.adapter);
    CHECK(relative_difference(m.logits(tokens), before) < kSameFunction);
    CHECK(bit_difference(m.adapter.sublayers[0].out_norm->weight, gamma) == "");
  }
}

TEST_CASE("a refit of all channels is the identity where outputs are normed") {
  for (const NormPlace place : kPlaces) {
    NormedModel m(place);
    const Tensor tokens = random_tokens(NormedModel::config(), 2, 19, 7), dense = m.logits(tokens);
    slice_model(m.adapter, random_tokens(NormedModel::config(), 16, 24), {.slice = 0});
    CHECK(relative_difference(m.logits(tokens), dense) < kSameFunction);
  }
}

/// (A + ρ·mean diag A)⁻¹ B
Tensor solved(const Tensor& A, const Tensor& B, double ridge) {
  const Tensor I = at::eye(A.size(0), A.options());
  return std::get<0>(at::linalg_solve_ex(A + ridge * A.diagonal().mean() * I, B));
}

/// The windows that a refit fits in the end: all that are not held out.
Tensor fitted_rows(const Tensor& tokens) {
  const CalibrationWindows windows(tokens);
  std::vector<int64_t> rows = windows.rows(WindowUse::kFit);
  for (const int64_t row : windows.rows(WindowUse::kChoose)) rows.push_back(row);
  return tokens.index_select(0, at::tensor(rows, at::kLong));
}

/// Rows of `narrow` that are rows of `whole` too, by number.
Tensor kept_rows(const Tensor& narrow, const Tensor& whole) {
  std::vector<int64_t> kept;
  for (int64_t i = 0; i < whole.size(0); ++i)
    for (const Tensor& row : narrow.unbind())
      if (row.equal(whole[i])) kept.push_back(i);
  return at::tensor(kept, at::kLong);
}

TEST_CASE("a narrowed network's writer is least squares of what the norm gives, twice") {
  for (const NormPlace place : kPlaces) {
    const NormedModel dense(place);
    NormedModel m(place);
    const ModelConfig config = NormedModel::config();
    const Tensor tokens = random_tokens(config, 16, 24), rows = fitted_rows(tokens);
    const int64_t F = config.ffn_size, D = config.hidden_size;
    const std::vector<Tensor> gammas(config.sites(), at::eye(D, at::kDouble));
    refit_model(m.adapter, tokens, {.slice = 0, .ffn_sizes = {F - 9, F}}, {}, gammas);
    const at::NoGradGuard no_grad;
    const Sublayer &s = dense.adapter.sublayers[1], &t = m.adapter.sublayers[1];
    const Tensor kept = kept_rows(t.branches[0].readers[0].weight, s.branches[0].readers[0].weight);
    REQUIRE(kept.size(0) == F - 9);
    const Tensor x = dense.signal(rows, 1);
    const Tensor h = s.branches[0].hidden(s.norm->forward(x), nullptr).flatten(0, 1);  // (n, F)
    const Tensor W = s.branches[0].writer.weight, o = h.mm(W.t());
    const Tensor r = (o.square().mean(1, true) + 1e-6).sqrt(), gamma = s.out_norm->weight;
    const Tensor own = h.index_select(1, kept) / r;  // (n, F')
    const Tensor A = own.t().mm(own);
    // Once as the channels that went are made up for, with the same for all rows of W; once for
    // the dense stream after it, of which γ_j / r ⊙ o_j is wanted.
    const Tensor start = solved(A, own.t().mm(o / r), kChannelRidge);  // (F', D)
    double nearest = std::numeric_limits<double>::infinity();
    for (const double ridge : kRidges) {
      const Tensor target = own.t().mm((dense.signal(rows, 2) - x).flatten(0, 1) / gamma);
      const Tensor want = start + solved(A, target - A.mm(start), ridge);
      nearest = std::min(nearest,
                         relative_difference(t.branches[0].writer.weight.t().contiguous(), want));
    }
    CHECK(nearest < 4 * solve_bound(F, static_cast<double>(F) / kRidges[0]));
  }
}

TEST_CASE("what one sublayer lost is repaired by the writer after it, through its norm") {
  for (const NormPlace place : kPlaces) {
    const NormedModel dense(place);
    NormedModel m(place);
    const ModelConfig config = NormedModel::config();
    const Tensor tokens = random_tokens(config, 32, 24), rows = fitted_rows(tokens);
    const int64_t F = config.ffn_size;
    const std::vector<Tensor> gammas(config.sites(), at::eye(config.hidden_size, at::kDouble));
    refit_model(m.adapter, tokens, {.slice = 0, .ffn_sizes = {F / 2, F}}, {}, gammas);
    const at::NoGradGuard no_grad;
    const Tensor z = dense.signal(rows, 3), x = m.signal(rows, 2);
    const Sublayer& s = m.adapter.sublayers[2];
    const Tensor o = s.output(x),
                 dense_r =
                     s.out_norm->divisor(dense.adapter.sublayers[2].output(dense.signal(rows, 2)));
    const auto error = [&](const Tensor& after) {
      return (after - z).square().sum().item<double>();
    };
    const double refitted = error(s.forward(x)),
                 as_fitted = error(x + o / dense_r * s.out_norm->weight);
    Tensor writer = s.branches[0].writer.weight;
    writer.set_data(dense.adapter.sublayers[2].branches[0].writer.weight.clone());
    CHECK(refitted < 0.97 * error(s.forward(x)));
    // The solution takes r of the dense model; that of the narrowed one is another.
    UNSCOPED_INFO("error " << refitted << ", with the dense r " << as_fitted);
    CHECK(refitted < 1.1 * as_fitted);
    const Tensor off = (s.out_norm->divisor(o) / dense_r).log().abs();
    CHECK(off.mean().item<double>() < 0.2);
  }
}

TEST_CASE("channels are scored by what the norm on the output lets through") {
  for (const NormPlace place : kPlaces) {
    const NormedModel m(place);
    const ModelConfig config = NormedModel::config();
    const Tensor tokens = random_tokens(config, 3, 8);
    std::vector<Tensor> gammas;
    for (int64_t site = 0; site < config.sites(); ++site) {
      const Tensor g = gaussian({30, config.hidden_size}, 40 + site);
      gammas.push_back(g.t().mm(g));
    }
    const auto scores = channel_scores(m.adapter, tokens, gammas);
    for (int64_t layer = 0; layer < config.layers; ++layer) {
      const int64_t site = 2 * layer + 1;
      const Sublayer& s = m.adapter.sublayers[site];
      const Tensor x = m.signal(tokens, site);
      const Tensor h = s.branches[0].hidden(s.norm->forward(x), nullptr);
      const Tensor r = s.out_norm->divisor(s.output(x));
      const Tensor W = s.branches[0].writer.weight * s.out_norm->weight.unsqueeze(1);
      const Tensor signal = (h / r).square().mean(at::IntArrayRef({0, 1}));
      const Tensor want = signal * (W * gammas[site + 1].mm(W)).sum(0);
      const Tensor size = signal * (W.abs() * gammas[site + 1].abs().mm(W.abs())).sum(0);
      const Tensor bound = sum_bound(want, 24 + 6, at::kFloat) +  // as without a norm, and r
                           sum_bound(size, 2 * config.hidden_size + 60, at::kDouble);
      CHECK(violation(scores[layer], want, bound) == "");
    }
  }
}

TEST_CASE("training goes through a norm on the output") {
  NormedModel m(NormPlace::kBoth, at::kFloat), closed(NormPlace::kBoth, at::kFloat);
  const Tensor tokens = random_tokens(NormedModel::config(), 64, 24);
  const std::vector<int64_t> half(2, NormedModel::config().ffn_size / 2);
  slice_model(closed.adapter, tokens, {.slice = 0, .ffn_sizes = half});
  const SliceReport report =
      slice_model(m.adapter, tokens, {.slice = 0, .ffn_sizes = half, .recover = 3});
  for (size_t site = 2; site < report.sites.size(); ++site) {
    CAPTURE(site);
    CHECK(report.sites[site].recovered.value() < 1);
  }
  CHECK(
      m.adapter.sublayers[1].out_norm->weight.equal(closed.adapter.sublayers[1].out_norm->weight));
}

TEST_CASE("nothing rotates or narrows a stream whose outputs are normed: refused by name") {
  NormedModel m(NormPlace::kBoth);
  const ModelConfig config = NormedModel::config();
  const Tensor tokens = random_tokens(config, 16, 24);
  const std::string name = m.adapter.sublayers[0].name + ": a norm on its output";
  const SliceOptions narrower{.slice = 0.25, .round = 1};
  CHECK_THROWS_NAMING(slice_model(m.adapter, tokens, narrower), ArgumentError, name);
  CHECK_THROWS_NAMING(slice_model(m.adapter, tokens, {.method = Method::kSliceGpt, .slice = 0}),
                      ArgumentError, name);
  const std::vector<Tensor> gammas(config.sites(), at::eye(config.hidden_size, at::kDouble));
  const CalibrationWindows trial = CalibrationWindows(tokens).trial(16);
  CHECK_THROWS_NAMING(refit_trial(m.adapter, trial, narrower, gammas), ArgumentError, name);
  const Tensor P = orthonormal(config.hidden_size, 10, 1);
  CHECK_THROWS_NAMING(rotate_writers(m.adapter.sublayers[0], P), ArgumentError, name);
}

Tensor logits(const Model& model, const Tensor& tokens) { return model.decoder().forward(tokens); }

TEST_CASE("keeping every channel is the identity for every family with norms on outputs") {
  for (const ModelConfig& config : tiny_families_with_output_norms()) {
    INFO(tests::describe(config));
    Model model = random_model(config);
    const Tensor tokens = random_tokens(config, 2, 19, 7), dense = logits(model, tokens);
    slice_model(model, random_tokens(config, 16, 24), {.slice = 0});
    CHECK(relative_difference(logits(model, tokens), dense) < kSameFunction);
    CHECK_FALSE(model.config().sliced());
  }
}

TEST_CASE(
    "families with norms on outputs are read back bit by bit, dense and with fewer channels") {
  for (const ModelConfig& config : tiny_families_with_output_norms()) {
    for (const int64_t width : {config.ffn_size, config.ffn_size - 9}) {
      INFO(tests::describe(config) << " width " << width);
      Model model = random_model(config, 1, at::kFloat);
      const std::vector<int64_t> widths(config.layers, width);
      slice_model(model, random_tokens(config, 16, 24), {.slice = 0, .ffn_sizes = widths});
      CHECK(model.config().ffn_size == width);
      const TemporaryDirectory directory;
      save_model(model, directory.path() / "m");
      const Model again = load_model(directory.path() / "m");
      const Tensor tokens = random_tokens(config, 2, 19, 7);
      // 1 + w is rounded where a file keeps w.
      const double allowance = network_allowance(config, at::kFloat);
      CHECK(relative_difference(logits(again, tokens), logits(model, tokens)) < allowance);
      int64_t total = 0;
      for (const auto& parameter : again.decoder().named_parameters())
        total += parameter.value().numel();
      CHECK(count_parameters(again.config()).total == total);
      CHECK(output_form(model.config()).stock);
    }
  }
}

TEST_CASE("decoding through the cache gives what the whole text gives with norms on outputs") {
  for (const ModelConfig& config : tiny_families_with_output_norms()) {
    INFO(tests::describe(config));
    const Model model = random_model(config);
    const Tensor tokens = random_tokens(config, 2, 20, 7), whole = logits(model, tokens);
    Generator generator(model, 20, 2);
    int64_t end = 0;
    for (const int64_t T : {6, 1, 1, 9, 3}) {
      end += T;
      const Tensor last = generator.feed(tokens.slice(1, end - T, end));
      CHECK(relative_difference(last, whole.select(1, end - 1)) < kSameFunction);
    }
  }
}

TEST_CASE(
    "a budget of a family with norms on outputs takes channels alone, and the result is stock") {
  for (const ModelConfig& config : tiny_families_with_output_norms()) {
    INFO(tests::describe(config));
    const SliceOptions options{.round = 2, .remove_blocks = 0.2};
    for (const Candidate& candidate : candidates(config, options)) {
      CHECK(candidate.kept == config.hidden_size);
      CHECK(candidate.stock);
    }
    Model model = random_model(config);
    const SliceReport report = slice_model(model, random_tokens(config, 16, 24), options);
    CHECK(model.config().ffn_size < config.ffn_size);
    CHECK(static_cast<double>(report.after.blocks) <=
          0.8 * static_cast<double>(report.before.blocks));
  }
}

TEST_CASE(
    "families with norms on outputs refuse slicegpt and smaller hidden sizes before any work") {
  for (const ModelConfig& config : tiny_families_with_output_norms()) {
    INFO(tests::describe(config));
    Model model = random_model(config);
    const Tensor tokens = random_tokens(config, 16, 24), before = logits(model, tokens);
    const auto refused = [&](const SliceOptions& options, const char* message) {
      CHECK_THROWS_NAMING(slice_model(model, tokens, options), ArgumentError, message);
    };
    refused({.method = Method::kSliceGpt}, "neither slicegpt nor a smaller hidden size");
    refused({.slice = 0.25, .round = 1}, "remove feed-forward channels alone");
    refused({.slice = 0, .ffn_sizes = {10, 20}}, "one FFN width for all layers");
    CHECK(bit_difference(logits(model, tokens), before) == "");
  }
}

TEST_CASE("layer by layer, families with norms on outputs give the files that memory gives") {
  for (const ModelConfig& config : tiny_families_with_output_norms()) {
    INFO(tests::describe(config));
    const TemporaryDirectory scratch;
    save_model(random_model(config, 5, at::kFloat), scratch.path() / "dense");
    const Tensor tokens = random_tokens(config, 9, 16);
    SliceOptions options{.slice = 0};
    options.ffn_sizes.assign(config.layers, config.ffn_size - 7);
    Model model = load_model(scratch.path() / "dense");
    slice_model(model, tokens, options);
    save_model(model, scratch.path() / "whole");
    std::filesystem::create_directory(scratch.path() / "streamed");
    const auto checkpoint = open_checkpoint(scratch.path() / "dense");
    slice_checkpoint(*checkpoint, tokens, options, scratch.path() / "streamed", {}, nullptr);
    const auto want = contents(scratch.path() / "whole"),
               got = contents(scratch.path() / "streamed");
    REQUIRE(got.size() == want.size());
    for (const auto& [name, bytes] : want) {
      CAPTURE(name);
      CHECK(got.at(name) == bytes);
    }
  }
}

}  // namespace
}  // namespace slice
