#include "libslice/slice_checkpoint.h"

#include <ATen/ATen.h>

#include <catch2/catch_all.hpp>
#include <limits>

#include "libslice/detail/file.h"
#include "libslice/error.h"
#include "libslice/slice_model.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

namespace fs = std::filesystem;
using at::Tensor;
using namespace tests;

constexpr int64_t kShardBytes = 4000;  // several a model

std::vector<ModelConfig> every_shape() {
  std::vector<ModelConfig> configs = tiny_configs();
  for (const ModelConfig& config : tiny_families()) configs.push_back(config);
  return configs;
}

/// All files of a directory by name.
std::map<std::string, std::string> contents(const fs::path& directory) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::directory_iterator(directory))
    files[entry.path().filename()] = detail::read_text_file(entry.path());
  return files;
}

/// What slicing in memory writes.
void slice_whole(const fs::path& source, const Tensor& tokens, const SliceOptions& options,
                 const fs::path& target, at::Device device) {
  Model model = load_model(source, {.device = device});
  slice_model(model, tokens, options);
  save_model(model, target, {.shard_bytes = kShardBytes});
}

void check_same_files(at::Device device, at::ScalarType stored) {
  for (const ModelConfig& config : every_shape()) {
    for (const HeadMode head : {HeadMode::kKeep, HeadMode::kSlice}) {
      CAPTURE(tests::describe(config), head == HeadMode::kSlice);
      const TemporaryDirectory scratch;
      save_model(random_model(config, 5, stored), scratch.path() / "dense");
      const Tensor tokens = random_tokens(config, 3, 16);
      const SliceOptions options{
          .method = Method::kSliceGpt, .slice = 0.3, .round = 1, .head = head};
      slice_whole(scratch.path() / "dense", tokens, options, scratch.path() / "whole", device);
      fs::create_directory(scratch.path() / "streamed");
      const auto checkpoint = open_checkpoint(scratch.path() / "dense");
      const SliceReport report =
          slice_checkpoint(*checkpoint, tokens, options, scratch.path() / "streamed",
                           {.device = device, .shard_bytes = kShardBytes}, nullptr);
      CHECK(report.after.total == count_parameters(planned_config(config, options)).total);
      CHECK(report.sites.size() == report.stream_sizes.size());
      const auto want = contents(scratch.path() / "whole");
      const auto got = contents(scratch.path() / "streamed");
      CHECK(want.size() > 4);  // shards, index, two configurations, the modeling file
      REQUIRE(got.size() == want.size());
      for (const auto& [name, bytes] : want) {
        CAPTURE(name);
        REQUIRE(got.contains(name));
        CHECK(got.at(name) == bytes);
      }
    }
  }
}

TEST_CASE("layer by layer gives the bytes that slicing in memory gives") {
  check_same_files(at::kCPU, at::kFloat);
}

TEST_CASE("layer by layer gives the same bytes from half-precision weights") {
  check_same_files(at::kCPU, at::kBFloat16);
}

TEST_CASE("on a GPU layer by layer gives the bytes that slicing in memory gives", "[cuda]") {
  if (!at::hasCUDA() || at::getNumGPUs() == 0) SKIP("no CUDA device");
  check_same_files(at::Device(at::kCUDA, 0), at::kHalf);
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
  CHECK_THROWS_AS(attempt({.method = Method::kRefit}, tokens), ShapeError);
  CHECK_THROWS_AS(attempt({.method = Method::kSliceGpt, .slice = 1.5}, tokens), ShapeError);
  CHECK_THROWS_AS(attempt({.method = Method::kSliceGpt}, tokens.to(at::kInt)), ShapeError);
  CHECK_THROWS_AS(attempt({.method = Method::kSliceGpt}, tokens + config.vocabulary_size),
                  ShapeError);
  CHECK(fs::is_empty(scratch.path() / "sliced"));
}

}  // namespace
}  // namespace slice
