#include "libslice/checkpoint/torchscript.h"

#include <ATen/ATen.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/serialization/import.h>

#include <catch2/catch_all.hpp>
#include <filesystem>
#include <set>

#include "libslice/base/error.h"
#include "libslice/checkpoint/checkpoint.h"
#include "libslice/checkpoint/model.h"
#include "libslice/model/config_json.h"
#include "libslice/model/decoder.h"
#include "tests/support/error_bounds.h"
#include "tests/support/file_limit.h"
#include "tests/support/matchers.h"
#include "tests/support/places.h"
#include "tests/support/sliced_layouts.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

namespace fs = std::filesystem;
using at::Tensor;
using namespace tests;

/// Texts of one token, of more than the windows, and past what rotary frequencies are fixed for.
std::vector<int64_t> lengths(const ModelConfig& config) {
  std::vector<int64_t> all = {1, 19};
  if (config.rope_scaling && config.rope_scaling->original_context < 1000)
    all.push_back(config.rope_scaling->original_context + 5);
  return all;
}

/// Logits of a file, loaded as a program without libslice does.
Tensor run(torch::jit::Module& script, const Tensor& tokens) {
  return script.forward({tokens}).toTensor();
}

/// How far the logits of the file in `dtype` are from the model's in the same dtype, beyond `most`.
void check_logits(const Model& model, at::ScalarType dtype, double most) {
  const TemporaryDirectory directory;
  save_torchscript(model, directory.path() / "m.pt", {.dtype = dtype});
  torch::jit::Module script = torch::jit::load((directory.path() / "m.pt").string());
  script.eval();
  for (const int64_t length : lengths(model.config())) {
    const Tensor tokens = random_tokens(model.config(), 2, length);
    const Tensor logits = run(script, tokens);  // (2, T, V)
    REQUIRE(logits.scalar_type() == at::kFloat);
    REQUIRE(logits.sizes() == at::IntArrayRef({2, length, model.config().vocabulary_size}));
    const Tensor want = model.decoder().forward(tokens);
    INFO(length << " tokens");
    CHECK(relative_difference(logits.to(at::kDouble), want.to(at::kDouble)) <= most);
  }
}

/// In float64 the function is the same, and only the logits are rounded.
void check_function(const Model& model) {
  check_logits(model, at::kDouble, roundoff(at::kFloat) + kSameFunction);
}

std::vector<ModelConfig> all_sizes() {
  std::vector<ModelConfig> all = tiny_configs();
  for (const auto& more : {tiny_families(), tiny_families_with_output_norms()})
    all.insert(all.end(), more.begin(), more.end());
  return all;
}

TEST_CASE("a TorchScript file computes what the model computes, of every family") {
  for (const ModelConfig& config : all_sizes()) {
    INFO(describe(config));
    check_function(random_model(config));
  }
}

TEST_CASE("a TorchScript file of every tiny checkpoint, or why there is none") {
  int written = 0;
  for (const fs::directory_entry& entry : fs::directory_iterator(tests::data_directory())) {
    if (!fs::exists(entry.path() / "config.json")) continue;
    INFO(entry.path().filename());
    const Model model = load_model(entry.path(), {.dtype = at::kDouble});
    CHECK(torchscript_obstacle(model.config()).has_value() == model.config().routed());
    if (model.config().routed()) continue;
    check_function(model);
    ++written;
  }
  CHECK(written > 60);
}

TEST_CASE("a TorchScript file computes what a sliced model computes, in every form") {
  const auto families = tiny_families();
  for (const ModelConfig& dense : {tiny_config(), families[1], families[2], families[6]}) {
    std::vector<std::pair<std::string, ModelConfig>> forms = custom_layouts(dense);
    forms.emplace_back("stock", without_shortcuts(dense, 15));
    if (dense.tied_head)
      forms.emplace_back("tied", sliced_config(dense, std::vector<int64_t>(dense.sites(), 16),
                                               /*keep_tie=*/true));
    for (const auto& [form, config] : forms) {
      INFO(describe(config) << ": " << form);
      check_function(random_model(config));
    }
  }
}

TEST_CASE("a TorchScript file in the types that models are stored in") {
  for (const at::ScalarType dtype : {at::kFloat, at::kHalf, at::kBFloat16}) {
    for (const ModelConfig& config : tiny_families()) {
      INFO(describe(config) << " in " << c10::toString(dtype));
      check_logits(random_model(config, 1, dtype), dtype, network_allowance(config, dtype));
    }
  }
}

TEST_CASE("a TorchScript file has the model's parameters by their names, and its configuration") {
  const TemporaryDirectory directory;
  const ModelConfig config = tiny_config();
  const Model model = random_model(config, 1, at::kHalf);
  save_torchscript(model, directory.path() / "m.pt");
  torch::jit::ExtraFilesMap extra = {{"config.json", ""}};
  torch::jit::Module script =
      torch::jit::load((directory.path() / "m.pt").string(), at::kCPU, extra);
  CHECK(extra.at("config.json") == config_json(config, "float16"));
  const auto parameters = model.decoder().named_parameters();
  size_t count = 0;
  for (const auto& [name, value] : script.named_parameters()) {
    INFO(name);
    const Tensor* own = parameters.find(name);
    REQUIRE(own != nullptr);
    CHECK(bit_difference(value, *own) == "");
    ++count;
  }
  CHECK(count == parameters.size());
  CHECK(script.buffers().size() == 0);

  script.to(at::kFloat);  // angles stay exact
  const Tensor tokens = random_tokens(config, 1, 19);
  for (auto& parameter : parameters) parameter.value().set_data(parameter.value().to(at::kFloat));
  CHECK(relative_difference(run(script, tokens), model.decoder().forward(tokens)) <=
        network_allowance(config, at::kFloat));
}

TEST_CASE("a TorchScript file takes little room beside its weights, shared memory included") {
  const TemporaryDirectory directory;
  ModelConfig config = tiny_config();
  config.hidden_size = 120;
  config.vocabulary_size = 2000;
  const Model model = random_model(config, 1, at::kFloat);
  size_t bytes = 0;
  for (auto& parameter : model.decoder().named_parameters()) {
    Tensor wide = at::zeros({5, parameter.value().numel()});
    wide[2].copy_(parameter.value().flatten());
    bytes += parameter.value().nbytes();
    parameter.value().set_data(wide[2].view(parameter.value().sizes()));
  }
  save_torchscript(model, directory.path() / "m.pt");
  CHECK(fs::file_size(directory.path() / "m.pt") < bytes + 100'000);
  torch::jit::Module script = torch::jit::load((directory.path() / "m.pt").string());
  const Tensor tokens = random_tokens(config, 1, 19);
  CHECK(relative_difference(run(script, tokens), model.decoder().forward(tokens)) <=
        network_allowance(config, at::kFloat));
}

TEST_CASE("a TorchScript file refuses tokens that the model has no positions for") {
  const TemporaryDirectory directory;
  const ModelConfig opt = tiny_families()[2];
  REQUIRE(opt.learned_positions > 0);
  save_torchscript(random_model(opt, 1, at::kFloat), directory.path() / "m.pt");
  torch::jit::Module script = torch::jit::load((directory.path() / "m.pt").string());
  const auto longest = static_cast<int64_t>(opt.positions());
  CHECK(run(script, random_tokens(opt, 1, longest)).size(1) == longest);
  CHECK_THROWS_WITH(run(script, random_tokens(opt, 1, longest + 1)),
                    Catch::Matchers::ContainsSubstring("this model has 128 positions"));
  CHECK_THROWS_WITH(run(script, random_tokens(opt, 1, 5)[0]),
                    Catch::Matchers::ContainsSubstring("want (batch, length)"));
}

TEST_CASE("no TorchScript file of experts, over a file, of weights too large, or on a full disk") {
  const TemporaryDirectory directory;
  const fs::path path = directory.path() / "m.pt";
  const ModelConfig mixtral = tiny_families_with_experts()[0];
  CHECK_THROWS_NAMING(save_torchscript(random_model(mixtral), path), FormatError,
                      "m.pt: libslice writes no mixtral as TorchScript: it has experts");
  const Model model = random_model(tiny_config(), 1, at::kFloat);
  {
    const FileLimit limit(20'000);
    CHECK_THROWS_NAMING(save_torchscript(model, path), Error, "m.pt");
  }
  const Model large = random_model(tiny_config(), 1, at::kFloat);
  large.decoder().named_parameters()["model.norm.weight"].data().mul_(1e6);
  CHECK_THROWS_NAMING(save_torchscript(large, path, {.dtype = at::kHalf}), NumericError,
                      "model.norm.weight overflows float16");
  const OnProgress stop = [](const Progress&) { throw Interrupted("stop"); };
  CHECK_THROWS_AS(save_torchscript(model, path, {}, stop), Interrupted);
  CHECK(fs::is_empty(directory.path()));
  save_torchscript(model, path);
  CHECK_THROWS_NAMING(save_torchscript(model, path), Error, "exists already");
  CHECK_THROWS_NAMING(check_torchscript_path(path, false), Error, "exists already");
  CHECK_NOTHROW(save_torchscript(model, path, {.replace = true}));
}

}  // namespace
}  // namespace slice
