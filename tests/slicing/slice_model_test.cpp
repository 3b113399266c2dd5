#include "libslice/slicing/slice_model.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <catch2/catch_all.hpp>
#include <limits>

#include "libslice/base/error.h"
#include "libslice/checkpoint/model.h"
#include "libslice/device/device.h"
#include "libslice/model/decoder.h"
#include "tests/support/error_bounds.h"
#include "tests/support/matchers.h"
#include "tests/support/ranks.h"
#include "tests/support/reference.h"
#include "tests/support/shared_data.h"
#include "tests/support/two_branch_model.h"

namespace slice {
namespace {

using at::Tensor;
using namespace tests;

/// What rounding can move a projector by, at the site whose gap is least; 4, an allowance, for the
/// sums of C and for the sites that see what the first ones did.
double projector_bound(const BookSlicing& book, const ModelConfig& config) {
  return 4 * subspace_bound(config.hidden_size, 1, book.smallest_gap);
}

Tensor logits(const Model& model, const Tensor& tokens) { return model.decoder().forward(tokens); }

/// All rows that read a site, of the dense model with their norm's weight or of the sliced one:
/// (rows, D or k).
Tensor readers_of(const Model& model, int64_t site) {
  const ModelAdapter adapter = model.decoder().adapter();
  const auto fused = [](const Tensor& W, const Norm& norm) {
    return norm->weighted() ? W * norm->weight : W;
  };
  if (site == static_cast<int64_t>(adapter.sublayers.size()))
    return fused(adapter.head.weight, adapter.final_norm);
  std::vector<Tensor> rows;
  for (const LinearRef& reader : adapter.sublayers[site].branches[0].readers) {
    rows.push_back(fused(reader.weight, adapter.sublayers[site].norm));
  }
  return at::cat(rows);
}

// ---- invariance: rotating without slicing
// --------------------------------------------------------------------------

TEST_CASE("k = D is the identity for every shape of LLaMA") {
  for (const ModelConfig& config : tiny_configs()) {
    for (const HeadMode head : {HeadMode::kKeep, HeadMode::kSlice}) {
      INFO(tests::describe(config));
      Model model = random_model(config);
      const Tensor tokens = random_tokens(config, 2, 19, 7), dense = logits(model, tokens);
      const SliceReport report =
          slice_model(model, random_tokens(config, 4, 16),
                      {.method = Method::kSliceGpt, .slice = 0.0, .head = head});
      CHECK(relative_difference(logits(model, tokens), dense) < kSameFunction);
      CHECK(report.stream_sizes == std::vector<int64_t>(2 * config.layers + 1, config.hidden_size));
      for (const SiteReport& site : report.sites)
        CHECK(std::abs(site.kept_variance - 1) < eigen_bound(config.hidden_size));
    }
  }
}

TEST_CASE(
    "k = D is the identity for a user-defined parallel model with learned positions and biases") {
  TwoBranchModel model;
  const Tensor tokens = TwoBranchModel::tokens(2, 9), dense = model.logits(tokens);
  const SliceReport report = slice_model(model.adapter, TwoBranchModel::tokens(6, 12),
                                         {.method = Method::kSliceGpt, .slice = 0.0});
  CHECK(relative_difference(model.logits(tokens), dense) < kSameFunction);
  CHECK(report.sites.size() == TwoBranchModel::kBlocks + 1);
}

TEST_CASE("k = D is the identity for trained models") {
  for (const char* file :
       {"models/stories260K/stories260K.bin", "models/babyllama-tok105/tok105_model5000.bin"}) {
    const auto path = shared_data(file);
    if (!path) SKIP("the trained models of the shared data are not here");
    INFO(file);
    Model model = load_model(*path, {.dtype = at::kDouble});
    const Tensor tokens = random_tokens(model.config(), 2, 64, 7), dense = logits(model, tokens);
    slice_model(model, random_tokens(model.config(), 8, 64),
                {.method = Method::kSliceGpt, .slice = 0.0});
    CHECK(relative_difference(logits(model, tokens), dense) < kSameFunction);
  }
}

TEST_CASE("deleting directions that the signal never takes loses nothing") {
  const ModelConfig config = tiny_configs()[2];  // biased
  for (const HeadMode head : {HeadMode::kKeep, HeadMode::kSlice}) {
    Model model = low_rank_model(config, 15);
    const Tensor tokens = random_tokens(config, 2, 19, 7), dense = logits(model, tokens);
    const SliceReport report =
        slice_model(model, random_tokens(config, 8, 16),
                    {.method = Method::kSliceGpt, .slice = 0.3, .round = 1, .head = head});
    REQUIRE(report.stream_sizes[0] == 16);
    CHECK(relative_difference(logits(model, tokens), dense) < kSameFunction);
  }
}

// ---- slicing is what the mathematics says
// --------------------------------------------------------------------------

TEST_CASE("sliced models equal dense ones with explicit projectors, sites, bases and logits") {
  for (const ModelConfig& config : tiny_configs()) {
    for (const HeadMode head : {HeadMode::kKeep, HeadMode::kSlice}) {
      for (const double fraction : {0.25, 0.5}) {
        INFO(tests::describe(config)
             << ", slice " << fraction << (head == HeadMode::kKeep ? ", head kept" : ""));
        const Tensor calibration = random_tokens(config, 6, 20, 3),
                     tokens = random_tokens(config, 1, 18, 4);
        const Model dense = random_model(config);
        const Weights weights = weights_of(dense.decoder());
        const SliceOptions options{
            .method = Method::kSliceGpt, .slice = fraction, .round = 2, .head = head};
        const auto sizes = plan_stream_sizes(config.hidden_size, 2 * config.layers + 1, options);
        const BookSlicing book = slice_by_the_book(config, weights, calibration, sizes);
        const double bound = projector_bound(book, config);
        REQUIRE(bound < 1e-7);  // a smaller gap would let anything pass

        Model sliced = random_model(config);
        const SliceReport report = slice_model(sliced, calibration, options);
        CHECK(report.stream_sizes == sizes);
        CHECK(sliced.config().stream_sizes == sizes);
        for (size_t site = 0; site < sizes.size(); ++site) {
          CAPTURE(site);
          CHECK(std::abs(report.sites[site].kept_variance - book.kept_variance[site]) < bound);
        }
        const Tensor want = logits_reference(config, weights, tokens[0], book.projectors);
        CHECK(relative_difference(logits(sliced, tokens)[0], want) < bound);
      }
    }
  }
}

TEST_CASE("readers and shortcuts of a sliced model are those of the principal bases") {
  const ModelConfig config = tiny_config();  // its readers have full column rank: they give P away
  const Tensor calibration = random_tokens(config, 6, 20, 3);
  const Model dense = random_model(config);
  Model sliced = random_model(config);
  const SliceOptions options{
      .method = Method::kSliceGpt, .slice = 0.25, .round = 2, .head = HeadMode::kSlice};
  slice_model(sliced, calibration, options);
  const auto& sizes = sliced.config().stream_sizes;
  const BookSlicing book =
      slice_by_the_book(config, weights_of(dense.decoder()), calibration, sizes);
  double condition = 1;  // of the readers that give P away
  for (size_t site = 0; site < sizes.size(); ++site)
    condition = std::max(condition, at::linalg_cond(readers_of(dense, site)).item<double>());
  const double bound = (1 + condition) * projector_bound(book, config);
  REQUIRE(bound < 1e-6);
  std::vector<Tensor> P;
  for (size_t site = 0; site < sizes.size(); ++site) {
    CAPTURE(site);
    P.push_back(at::linalg_pinv(readers_of(dense, site)).mm(readers_of(sliced, site)));  // (D, k)
    CHECK(violation(P[site].t().mm(P[site]), at::eye(sizes[site], at::kDouble), bound) == "");
    CHECK(violation(P[site].mm(P[site].t()), book.projectors[site], bound) == "");
  }
  const ModelAdapter adapter = sliced.decoder().adapter();
  for (size_t site = 0; site + 1 < sizes.size(); ++site) {
    CHECK(violation(adapter.sublayers[site].shortcut->weight, P[site + 1].t().mm(P[site]), bound) ==
          "");
  }
}

TEST_CASE("chunk sizes change memory, not results") {
  const ModelConfig config = tiny_config();
  const Tensor calibration = random_tokens(config, 9, 20, 3),
               tokens = random_tokens(config, 1, 18, 4);
  const auto sizes =
      plan_stream_sizes(config.hidden_size, 5, {.method = Method::kSliceGpt, .slice = 0.25});
  const BookSlicing book =
      slice_by_the_book(config, weights_of(random_model(config).decoder()), calibration, sizes);
  Tensor want;
  for (const int64_t chunk_tokens : {4096, 1, 40, 61}) {
    CAPTURE(chunk_tokens);
    Model model = random_model(config);
    slice_model(model, calibration,
                {.method = Method::kSliceGpt, .slice = 0.25, .chunk_tokens = chunk_tokens});
    const Tensor got = logits(model, tokens);
    if (!want.defined()) want = got;
    CHECK(relative_difference(got, want) < projector_bound(book, config));
  }
}

TEST_CASE("two ranks slice as one does, each with half of the windows") {
  for (const ModelConfig& config : {tiny_config(), tiny_families()[2]}) {
    for (const HeadMode head : {HeadMode::kKeep, HeadMode::kSlice}) {
      INFO(tests::describe(config));
      const SliceOptions options{
          .method = Method::kSliceGpt, .slice = 0.25, .round = 2, .head = head};
      const Tensor calibration = random_tokens(config, 7, 20, 3),
                   tokens = random_tokens(config, 1, 18, 4);
      Model alone = random_model(config);
      const SliceReport want = slice_model(alone, calibration, options);
      std::array<Model, 2> models = {random_model(config), random_model(config)};
      std::vector<SliceReport> reports(2);
      const auto thrown = run_ranks(2, [&](const ProcessGroup& group) {
        reports[group.rank()] = slice_model(models[group.rank()], calibration, options, {}, group);
      });
      REQUIRE(thrown == std::vector<std::string>{"", ""});
      const at::NoGradGuard no_grad;
      CHECK(relative_difference(logits(models[0], tokens), logits(alone, tokens)) < kSameFunction);
      const auto others = models[1].decoder().named_parameters();
      for (const auto& parameter : models[0].decoder().named_parameters()) {
        INFO(parameter.key());
        CHECK(at::equal(parameter.value(), others[parameter.key()]));
      }
      for (const SliceReport& report : reports) {
        CHECK(report.calibration_sha256 == want.calibration_sha256);
        for (size_t site = 0; site < want.sites.size(); ++site)
          CHECK(std::abs(report.sites[site].kept_variance - want.sites[site].kept_variance) <
                kSameFunction);
      }
    }
  }
}

TEST_CASE("a device that runs out of memory gets smaller chunks, and the result is the same") {
  const Tensor tokens = TwoBranchModel::tokens(12, 9), test = TwoBranchModel::tokens(2, 9);
  const SliceOptions options{.method = Method::kSliceGpt, .slice = 0.3, .round = 1};
  TwoBranchModel roomy, narrow;
  slice_model(roomy.adapter, tokens, options);
  const auto hidden = narrow.adapter.sublayers[0].branches[1].hidden;
  narrow.adapter.sublayers[0].branches[1].hidden = [&](const Tensor& n, KvCache* cache) {
    if (n.size(0) > 4) C10_THROW_ERROR(OutOfMemoryError, "no room");
    return hidden(n, cache);
  };
  std::vector<std::string> notes;
  const SliceReport report =
      slice_model(narrow.adapter, tokens, options, [&](const Progress& progress) {
        if (!progress.note.empty()) notes.push_back(progress.note);
      });
  REQUIRE(notes.size() == 2);  // 12 windows, 6, 3
  CHECK(notes[1] == "cpu is short of memory: continuing in chunks of 27 tokens");
  CHECK(report.chunk_tokens == 27);
  CHECK(relative_difference(narrow.logits(test), roomy.logits(test)) < kSameFunction);
}

TEST_CASE("a GPU slices as the CPU does, and twice to the same bits", "[cuda]") {
  if (choose_device().is_cpu()) SKIP("no CUDA device");
  for (const ModelConfig& config : tiny_configs()) {
    INFO(tests::describe(config));
    const Tensor calibration = random_tokens(config, 9, 20, 3),
                 tokens = random_tokens(config, 2, 18, 4);
    const auto on_device = [&](at::Device device, at::ScalarType dtype) {
      Model model = random_model(config, 1, dtype);
      model.decoder().to(device);
      const SliceReport report =
          slice_model(model, calibration, {.method = Method::kSliceGpt, .slice = 0.25});
      CHECK(report.device == device.str());
      CHECK((report.peak_device_bytes > 0) == device.is_cuda());
      return model;
    };
    const at::Device gpu(at::kCUDA, 0);
    const Model cpu = on_device(at::kCPU, at::kDouble), first = on_device(gpu, at::kDouble);
    const auto sizes = cpu.config().stream_sizes;
    const BookSlicing book =
        slice_by_the_book(config, weights_of(random_model(config).decoder()), calibration, sizes);
    CHECK(relative_difference(logits(first, tokens).cpu(), logits(cpu, tokens)) <
          projector_bound(book, config));
    for (const at::ScalarType dtype : {at::kFloat, at::kHalf, at::kBFloat16}) {
      CAPTURE(c10::toString(dtype));
      const auto a = on_device(gpu, dtype), b = on_device(gpu, dtype);
      const auto again = b.decoder().named_parameters();
      for (const auto& parameter : a.decoder().named_parameters())
        CHECK(bit_difference(parameter.value().cpu(), again[parameter.key()].cpu()) == "");
    }
  }
}

TEST_CASE("on a GPU k = D is the identity", "[cuda]") {
  if (choose_device().is_cpu()) SKIP("no CUDA device");
  for (const ModelConfig& config : tiny_configs()) {
    INFO(tests::describe(config));
    Model model = random_model(config);
    model.decoder().to(at::Device(at::kCUDA, 0));
    const Tensor tokens = random_tokens(config, 2, 19, 7), dense = logits(model, tokens);
    slice_model(model, random_tokens(config, 4, 16), {.method = Method::kSliceGpt, .slice = 0.0});
    CHECK(relative_difference(logits(model, tokens), dense) < kSameFunction);
  }
}

TEST_CASE("the same run twice gives the same bits") {
  const ModelConfig config = tiny_config();
  const Tensor calibration = random_tokens(config, 4, 20, 3),
               tokens = random_tokens(config, 1, 18, 4);
  Model a = random_model(config, 1, at::kFloat), b = random_model(config, 1, at::kFloat);
  slice_model(a, calibration);
  slice_model(b, calibration);
  CHECK(bit_difference(logits(a, tokens), logits(b, tokens)) == "");
}

TEST_CASE("a tied head is untied and sliced apart from the embedding") {
  ModelConfig config = tiny_config();
  config.tied_head = true;
  Model model = random_model(config);
  const SliceReport report = slice_model(model, random_tokens(config, 4, 20),
                                         {.method = Method::kSliceGpt, .slice = 0.25});
  CHECK_FALSE(model.config().tied_head);
  const auto parameters = model.decoder().named_parameters();
  CHECK(parameters["model.embed_tokens.weight"].size(1) == 16);
  CHECK(parameters["lm_head.weight"].size(1) == 24);
  CHECK(report.before.total + config.vocabulary_size * (16 + 24 - 24) > report.after.total);
}

TEST_CASE("half-precision models are sliced in their own dtype") {
  for (const at::ScalarType dtype : {at::kFloat, at::kHalf, at::kBFloat16}) {
    CAPTURE(c10::toString(dtype));
    const ModelConfig config = tiny_configs()[2];
    const Tensor tokens = random_tokens(config, 1, 18, 4),
                 calibration = random_tokens(config, 6, 20, 3);
    Model exact = low_rank_model(config, 15), model = low_rank_model(config, 15);
    model.decoder().to(dtype);
    slice_model(exact, calibration, {.method = Method::kSliceGpt, .slice = 0.25, .round = 1});
    const SliceReport report =
        slice_model(model, calibration, {.method = Method::kSliceGpt, .slice = 0.25, .round = 1});
    for (const auto& parameter : model.decoder().named_parameters()) {
      CHECK(parameter.value().scalar_type() == dtype);
      CHECK(parameter.value().is_contiguous());
    }
    CHECK(report.dtype == (dtype == at::kFloat  ? "float32"
                           : dtype == at::kHalf ? "float16"
                                                : "bfloat16"));
    // Nothing is lost by deleting, so the basis does not matter; the weights are rounded twice.
    CHECK(relative_difference(logits(model, tokens), logits(exact, tokens)) <
          2 * network_allowance(config, dtype));
  }
}

TEST_CASE("fewer calibration tokens than the hidden size still give a basis") {
  const ModelConfig config = tiny_config();
  Model model = random_model(config);
  const SliceReport report =
      slice_model(model, random_tokens(config, 1, 5), {.method = Method::kSliceGpt, .slice = 0.25});
  CHECK(report.sites[0].kept_variance == Catch::Approx(1.0));
  CHECK(logits(model, random_tokens(config, 1, 9)).isfinite().all().item<bool>());
}

TEST_CASE("slicegpt forgot the widths of a model whose layers are of uneven width") {
  const ModelConfig config = narrowed_config(tiny_config(), {30, 21});
  Model model = random_model(config);
  const SliceOptions options{.method = Method::kSliceGpt, .slice = 0.25};
  const Tensor tokens = random_tokens(config, 3, 16);
  const SliceReport report = slice_model(model, tokens, options);
  CHECK(report.ffn_sizes == std::vector<int64_t>{30, 21});
  CHECK(model.config().ffn_sizes == std::vector<int64_t>{30, 21});
  CHECK(report.before.total == count_parameters(config).total);
  CHECK(report.after.total == count_parameters(planned_config(config, options)).total);
  CHECK(logits(model, tokens).isfinite().all().item<bool>());
}

TEST_CASE("the report says what was done") {
  const ModelConfig config = tiny_config();
  Model model = random_model(config, 1, at::kFloat);
  const SliceReport report = slice_model(model, at::arange(6, at::kLong).view({2, 3}),
                                         {.method = Method::kSliceGpt, .slice = 0.25});
  CHECK(report.family == "llama");
  CHECK(report.dtype == "float32");
  CHECK(report.device == "cpu");
  CHECK(report.hidden_size == 24);
  CHECK(report.layers == 2);
  CHECK(report.stream_sizes == std::vector<int64_t>{16, 16, 16, 16, 24});
  CHECK(report.ffn_sizes == std::vector<int64_t>{38, 38});
  CHECK(report.head_counts == std::vector<int64_t>{4, 4});
  CHECK(report.calibration_tokens == 6);
  CHECK(report.calibration_sequences == 2);
  CHECK(report.calibration_context == 3);
  // sha256 of the six ids as little-endian int64
  CHECK(report.calibration_sha256 ==
        "f190072c5052f4f440d4a607c25f5bced487c420806c9aab4ca5b0653e72da61");
  REQUIRE(report.sites.size() == 5);
  CHECK(report.sites[1].name == "model.layers.0.mlp");
  CHECK(report.sites[4].name == "head");
  for (int64_t i = 0; i < 5; ++i) {
    CHECK(report.sites[i].index == i);
    CHECK(report.sites[i].hidden_size == report.stream_sizes[i]);
    CHECK(report.sites[i].kept_variance > 0);
    CHECK(report.sites[i].kept_variance <= 1 + gamma_n(24, at::kDouble));
  }
  int64_t parameters = 0;
  for (const Tensor& parameter : model.decoder().parameters()) parameters += parameter.numel();
  CHECK(report.after.total == parameters);
  CHECK(report.before.total == count_parameters(config).total);
  CHECK(report.total_seconds > 0);
  CHECK(report.total_seconds >= report.calibrate_seconds);
  CHECK(report.peak_host_bytes > 0);
}

// ---- what is refused
// -----------------------------------------------------------------------------------------------

TEST_CASE("options and tokens out of range are refused and leave the model as it was") {
  ModelConfig config = tiny_config();
  config.tied_head = true;
  Model model = random_model(config);
  const Tensor good = random_tokens(config, 4, 10), dense = logits(model, good);
  const auto ids = [](std::vector<int64_t> values) {
    return at::tensor(values, at::kLong).unsqueeze(0);
  };
  CHECK_THROWS_NAMING(slice_model(model, good, {.method = Method::kSliceGpt, .slice = 1.0}),
                      ArgumentError, "slice");
  CHECK_THROWS_NAMING(slice_model(model, good, {.method = Method::kSliceGpt, .slice = -0.25}),
                      ArgumentError, "slice");
  CHECK_THROWS_NAMING(
      slice_model(model, good, {.method = Method::kSliceGpt, .slice = 0.25, .round = 0}),
      ArgumentError, "round");
  CHECK_THROWS_NAMING(slice_model(model, good, {.method = Method::kSliceGpt, .slice = 0.9}),
                      ArgumentError, "leaves nothing");
  CHECK_THROWS_NAMING(slice_model(model, good[0]), ShapeError, "(10) Long");
  CHECK_THROWS_NAMING(slice_model(model, good.to(at::kFloat)), ShapeError, "float32");
  CHECK_THROWS_NAMING(slice_model(model, good.slice(0, 0, 0)), ShapeError, "(0, 10)");
  CHECK_THROWS_NAMING(slice_model(model, ids({1, 53})), ArgumentError, "[0, 53)");
  CHECK_THROWS_NAMING(slice_model(model, ids({-1, 5})), ArgumentError, "-1");
  CHECK(bit_difference(logits(model, good), dense) == "");
  CHECK(model.config().tied_head);
  CHECK_NOTHROW(slice_model(model, good));
}

TEST_CASE("a sliced model is not sliced again") {
  const ModelConfig config = tiny_config();
  Model model = random_model(config);
  const Tensor tokens = random_tokens(config, 4, 10);
  slice_model(model, tokens, {.method = Method::kSliceGpt, .slice = 0.25});
  const Tensor sliced = logits(model, tokens);
  CHECK_THROWS_NAMING(slice_model(model, tokens, {.method = Method::kSliceGpt, .slice = 0.25}),
                      ArgumentError, "already sliced");
  ModelAdapter adapter = model.decoder().adapter();
  CHECK_THROWS_NAMING(slice_model(adapter, tokens, {.method = Method::kSliceGpt, .slice = 0.25}),
                      ShapeError, "embed_tokens");
  CHECK(bit_difference(logits(model, tokens), sliced) == "");
}

TEST_CASE("user-defined modules have no configuration to count a budget by") {
  TwoBranchModel model;
  CHECK_THROWS_NAMING(slice_model(model.adapter, TwoBranchModel::tokens(9, 5), {.remove = 0.1}),
                      ArgumentError, "need a slice::Model; a ModelAdapter has no configuration");
}

TEST_CASE("weights that are not finite are refused by name") {
  const ModelConfig config = tiny_config();
  for (const std::string name : {"model.layers.1.mlp.down_proj", "model.embed_tokens",
                                 "model.layers.0.self_attn.k_proj", "lm_head"}) {
    Model model = random_model(config);
    auto parameters = model.decoder().named_parameters();
    parameters[name + ".weight"][3][2].fill_(std::numeric_limits<double>::quiet_NaN());
    CHECK_THROWS_NAMING(slice_model(model, random_tokens(config, 2, 10)), NumericError, name);
  }
}

TEST_CASE("a signal that overflows is refused with the sublayer where it was seen") {
  const ModelConfig config = tiny_config();
  Model model = random_model(config);
  auto parameters = model.decoder().named_parameters();
  parameters["model.layers.0.mlp.down_proj.weight"].mul_(1e200);
  CHECK_THROWS_NAMING(slice_model(model, random_tokens(config, 2, 10)), NumericError,
                      "model.layers.1.attention");
}

TEST_CASE("an adapter whose head shares the embedding's memory is refused") {
  TwoBranchModel model;
  model.adapter.head.weight = model.adapter.embeddings[0].weight;
  CHECK_THROWS_NAMING(slice_model(model.adapter, TwoBranchModel::tokens(2, 5)), ArgumentError,
                      "untie it first");
}

TEST_CASE("an interrupted run unwinds, stops listening and leaves every sublayer whole") {
  const ModelConfig config = tiny_config();
  const Tensor tokens = random_tokens(config, 4, 10);
  for (const int64_t last_call : {1, 4, 9, 12}) {  // 4 chunks a sublayer, 3 sublayers run
    CAPTURE(last_call);
    Model model = random_model(config);
    int64_t calls = 0;
    const auto stop = [&](const Progress&) {
      if (++calls == last_call) throw Interrupted("enough");
    };
    CHECK_THROWS_AS(
        slice_model(model, tokens, {.method = Method::kSliceGpt, .slice = 0.25, .chunk_tokens = 10},
                    stop),
        Interrupted);
    CHECK(calls == last_call);
    for (const Sublayer& s : model.decoder().adapter().sublayers) CHECK_FALSE(s.tap->observed());
    // Sublayers before the stop are new, those after it old; the one in between leads from
    // one to the other.
    CHECK(logits(model, tokens).isfinite().all().item<bool>());
  }
}

}  // namespace
}  // namespace slice
