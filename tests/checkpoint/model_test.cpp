#include "libslice/checkpoint/model.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <catch2/catch_all.hpp>
#include <fstream>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <type_traits>

#include "libslice/base/atomic_directory.h"
#include "libslice/base/error.h"
#include "libslice/checkpoint/checkpoint.h"
#include "libslice/checkpoint/gguf_write.h"
#include "libslice/format/safetensors.h"
#include "libslice/method/fuse.h"
#include "libslice/model/config_json.h"
#include "libslice/model/decoder.h"
#include "libslice/slicing/slice_model.h"
#include "tests/support/directory_contents.h"
#include "tests/support/end_tokens.h"
#include "tests/support/matchers.h"
#include "tests/support/reference.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

namespace fs = std::filesystem;
using at::Tensor;
using namespace tests;

/// A checkpoint of these tensors, as Hugging Face lays it out.
fs::path write_checkpoint(const TemporaryDirectory& directory, const ModelConfig& config,
                          const std::map<std::string, Tensor>& tensors) {
  const fs::path path = directory.path() / "model";
  fs::create_directory(path);
  std::vector<SafetensorsWriter::Slot> slots;
  for (const auto& [name, tensor] : tensors)
    slots.push_back({name, tensor.scalar_type(), tensor.sizes().vec()});
  SafetensorsWriter writer(path / "model.safetensors", slots);
  for (const auto& [name, tensor] : tensors) writer.write(name, tensor);
  writer.finish();
  std::ofstream(path / "config.json") << config_json(config, "float32");
  return path;
}

std::map<std::string, Tensor> tensors_of(const Model& model) {
  std::map<std::string, Tensor> tensors;
  for (const auto& parameter : model.decoder().named_parameters())
    tensors[parameter.key()] = parameter.value();
  return tensors;
}

/// Saves and loads a model, and expects the same configuration, names, weights and logits, to the
/// bit.
void check_round_trip(const Model& model, at::ScalarType dtype, const SaveOptions& options = {}) {
  const TemporaryDirectory directory;
  const fs::path path = directory.path() / "model";
  save_model(model, path, options);
  const Model loaded = load_model(path, {.dtype = dtype});
  CHECK(loaded.stored_dtype() == dtype);
  CHECK(loaded.config().stream_sizes == model.config().stream_sizes);
  CHECK(loaded.config().tied_head == model.config().tied_head);
  const auto want = tensors_of(model), got = tensors_of(loaded);
  REQUIRE(got.size() == want.size());
  for (const auto& [name, tensor] : want) {
    CAPTURE(name);
    REQUIRE(got.contains(name));
    CHECK(bit_difference(got.at(name), tensor) == "");
  }
  const Tensor tokens = random_tokens(model.config(), 2, 15, 8);
  CHECK(bit_difference(loaded.decoder().forward(tokens), model.decoder().forward(tokens)) == "");
}

TEST_CASE("saved and reloaded models give the same bits, dense and sliced, in every dtype") {
  for (const ModelConfig& config : tiny_configs()) {
    for (const at::ScalarType dtype : {at::kFloat, at::kHalf, at::kBFloat16}) {
      INFO(tests::describe(config) << ' ' << c10::toString(dtype));
      Model model = random_model(config, 1, dtype);
      check_round_trip(model, dtype);
      slice_model(model, random_tokens(config, 4, 16),
                  {.method = Method::kSliceGpt, .slice = 0.25, .round = 2});
      check_round_trip(model, dtype);
    }
  }
}

TEST_CASE("a fused model is still one that can be saved and loaded") {
  for (const ModelConfig& config : tiny_configs()) {
    INFO(tests::describe(config));
    const Model model = random_model(config, 1, at::kFloat);
    model.decoder().prepare_head();
    ModelAdapter adapter = model.decoder().adapter();
    fuse_norms(adapter);
    check_round_trip(model, at::kFloat);
  }
}

TEST_CASE("a model whose slicing was interrupted is not saved") {
  const ModelConfig config = tiny_config();
  Model model = random_model(config);
  const auto stop = [](const Progress& p) {
    if (p.step == 2) throw Interrupted("enough");
  };
  CHECK_THROWS_AS(slice_model(model, random_tokens(config, 4, 10),
                              {.method = Method::kSliceGpt, .slice = 0.25}, stop),
                  Interrupted);
  const TemporaryDirectory directory;
  CHECK_THROWS_NAMING(save_model(model, directory.path() / "model"), ShapeError,
                      "embed_tokens.weight: want (53, 24), got (53, 16)");
  CHECK(names_in(directory.path()).empty());
}

TEST_CASE("models saved in many shards come back whole") {
  const ModelConfig config = tiny_config();
  const Model model = random_model(config, 1, at::kFloat);
  check_round_trip(model, at::kFloat, {.shard_bytes = 10000});
  const TemporaryDirectory directory;
  save_model(model, directory.path() / "model", {.shard_bytes = 10000});
  CHECK(names_in(directory.path() / "model").contains("model.safetensors.index.json"));
  CHECK_FALSE(names_in(directory.path() / "model").contains("model.safetensors"));
}

TEST_CASE("a saved model is a Hugging Face directory, of a sliced kind when it was sliced") {
  const ModelConfig config = tiny_config();
  Model model = random_model(config, 1, at::kFloat);
  const TemporaryDirectory directory;
  const auto saved = [&](const std::string& name) {
    save_model(model, directory.path() / name, {.dtype = at::kHalf});
    std::set<std::string> files = {"config.json", "generation_config.json", "model.safetensors"};
    if (model.config().sliced()) files.insert("modeling_sliced_llama.py");
    CHECK(names_in(directory.path() / name) == files);
    std::ifstream file(directory.path() / name / "config.json");
    return nlohmann::json::parse(file);
  };
  const auto dense = saved("dense");
  CHECK(dense["model_type"] == "llama");
  CHECK(dense["hidden_size"] == 24);
  CHECK(dense["torch_dtype"] == "float16");
  CHECK_FALSE(dense.contains("stream_sizes"));
  slice_model(model, random_tokens(config, 4, 16), {.method = Method::kSliceGpt, .slice = 0.25});
  const auto sliced = saved("sliced");
  CHECK(sliced["model_type"] == "sliced_llama");
  CHECK(sliced["hidden_size"] == 24);
  CHECK(sliced["stream_sizes"] == std::vector<int64_t>{16, 16, 16, 16, 24});
}

TEST_CASE("a sliced model keeps every end token and the sampling defaults of its source") {
  const TemporaryDirectory scratch;
  Model model = load_model(write_three_ends(scratch.path() / "source"));
  save_model(model, scratch.path() / "dense");
  check_three_ends(scratch.path() / "dense");
  slice_model(model, random_tokens(model.config(), 4, 16),
              {.method = Method::kSliceGpt, .slice = 0.25});
  save_model(model, scratch.path() / "sliced");
  check_three_ends(scratch.path() / "sliced");
  // What lacks nothing is written as it was read.
  const auto text = [&](const char* name) {
    return detail::read_text_file(scratch.path() / name / "generation_config.json");
  };
  save_model(load_model(scratch.path() / "sliced"), scratch.path() / "again");
  CHECK(text("again") == text("sliced"));
}

TEST_CASE("a model from a GGUF file is saved with all of its end tokens") {
  const TemporaryDirectory scratch;
  const fs::path file = scratch.path() / "m.gguf", directory = scratch.path() / "model";
  save_gguf(load_model(write_three_ends(scratch.path() / "source")), file);
  using Ids = std::vector<int64_t>;
  const Model model = load_model(file);
  CHECK(model.config().eos_tokens == Ids{0, 5, 2});
  CHECK(model.tokenizer().eos_tokens() == Ids{0, 5, 2});
  save_model(model, directory);
  const auto generation =
      nlohmann::json::parse(detail::read_text_file(directory / "generation_config.json"));
  CHECK(generation["bos_token_id"] == 1);
  CHECK(generation["eos_token_id"] == Ids{0, 5, 2});
  CHECK(generation["pad_token_id"] == 4);
  const Model again = load_model(directory);
  CHECK(again.config().eos_tokens == Ids{0, 5, 2});
  CHECK(again.config().pad_token == 4);
  CHECK(again.tokenizer().eos_tokens() == Ids{0, 5, 2});
}

TEST_CASE("weights are converted to the dtype asked for, on either side") {
  const Model model = random_model(tiny_config(), 1, at::kFloat);
  const TemporaryDirectory directory;
  save_model(model, directory.path() / "half", {.dtype = at::kHalf});
  const Model loaded = load_model(directory.path() / "half");
  CHECK(loaded.decoder().dtype() == at::kFloat);  // the CPU's default
  CHECK(loaded.stored_dtype() == at::kHalf);
  for (const auto& [name, tensor] : tensors_of(loaded)) {
    CHECK(bit_difference(tensor, tensors_of(model).at(name).to(at::kHalf).to(at::kFloat)) == "");
  }
  CHECK(load_model(directory.path() / "half", {.dtype = at::kDouble}).decoder().dtype() ==
        at::kDouble);
}

TEST_CASE("a quantised source is saved in float16 where it fits, else in bfloat16") {
  const ModelConfig config = tiny_config();
  const Model small(random_decoder(config, 1, at::kFloat), nullptr, std::nullopt);
  CHECK(small.stored_dtype() == at::kHalf);
  const Model large(random_decoder(config, 1, at::kFloat), nullptr, std::nullopt);
  auto parameters = large.decoder().named_parameters();
  parameters["model.norm.weight"][0].fill_(70000.0);
  CHECK(large.stored_dtype() == at::kBFloat16);
}

TEST_CASE("a missing, unexpected or misshapen tensor is refused by name") {
  const ModelConfig config = tiny_config();
  const Model model = random_model(config, 1, at::kFloat);
  using Tensors = std::map<std::string, Tensor>;
  struct Fault {
    std::string message;
    std::function<void(Tensors&)> make;
  };
  const std::string up = "model.layers.1.mlp.up_proj.weight";
  const std::vector<Fault> faults = {
      {up + " is missing, want (38, 24)", [&](Tensors& t) { t.erase(up); }},
      {"lm_head.weight is missing", [&](Tensors& t) { t.erase("lm_head.weight"); }},
      {"unexpected tensor model.layers.1.mlp.gap_proj.weight (38, 24)",
       [&](Tensors& t) { t["model.layers.1.mlp.gap_proj.weight"] = t.at(up); }},
      {"unexpected tensor model.layers.1.mlp.up_proj.bias (38)",
       [&](Tensors& t) { t["model.layers.1.mlp.up_proj.bias"] = at::ones({38}); }},
      {up + ": want (38, 24), got (24, 38)",
       [&](Tensors& t) { t[up] = t.at(up).t().contiguous(); }},
      {"model.norm.weight: want (24), got (23)",
       [](Tensors& t) { t["model.norm.weight"] = at::ones({23}); }},
  };
  for (const Fault& fault : faults) {
    const TemporaryDirectory directory;
    Tensors tensors = tensors_of(model);
    fault.make(tensors);
    CHECK_THROWS_NAMING(load_model(write_checkpoint(directory, config, tensors)), FormatError,
                        fault.message);
  }
}

TEST_CASE("tensors that carry nothing are skipped") {
  ModelConfig config = tiny_config();
  config.tied_head = true;
  const Model model = random_model(config, 1, at::kFloat);
  auto tensors = tensors_of(model);
  tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = at::ones({3});
  tensors["lm_head.weight"] = tensors.at("model.embed_tokens.weight").clone();
  const TemporaryDirectory directory;
  const Tensor tokens = random_tokens(config, 1, 9);
  const Model loaded = load_model(write_checkpoint(directory, config, tensors));
  CHECK(bit_difference(loaded.decoder().forward(tokens), model.decoder().forward(tokens)) == "");
}

TEST_CASE("a NaN or Inf in a file is refused by name") {
  const ModelConfig config = tiny_config();
  for (const double value :
       {std::numeric_limits<double>::quiet_NaN(), -std::numeric_limits<double>::infinity()}) {
    const TemporaryDirectory directory;
    auto tensors = tensors_of(random_model(config, 1, at::kFloat));
    tensors["model.layers.0.self_attn.v_proj.weight"][1][1].fill_(value);
    CHECK_THROWS_NAMING(load_model(write_checkpoint(directory, config, tensors)), NumericError,
                        "model.layers.0.self_attn.v_proj.weight");
  }
}

TEST_CASE("a path without a model is refused by name") {
  const TemporaryDirectory directory;
  CHECK_THROWS_NAMING(load_model(directory.path() / "nothing"), FormatError, "nothing");
  CHECK_THROWS_NAMING(load_model(directory.path()), FormatError, "config.json");
}

TEST_CASE("a device that is not there is refused") {
  const TemporaryDirectory directory;
  save_model(random_model(tiny_config(), 1, at::kFloat), directory.path() / "model");
  CHECK_THROWS_NAMING(load_model(directory.path() / "model", {.device = at::Device(at::kCUDA, 99)}),
                      DeviceError, "cuda:99");
}

TEST_CASE("a model without a tokenizer says why when it is asked for one") {
  const TemporaryDirectory directory;
  const Model model = random_model(tiny_config(), 1, at::kFloat);
  CHECK_FALSE(model.has_tokenizer());
  CHECK_THROWS_NAMING(model.tokenizer(), FormatError, "no tokenizer");
  save_model(model, directory.path() / "model");
  const Model loaded = load_model(directory.path() / "model");
  CHECK_FALSE(loaded.has_tokenizer());
  CHECK_THROWS_NAMING(loaded.tokenizer(), FormatError, (directory.path() / "model").string());
}

TEST_CASE("an existing directory is refused untouched, or replaced when asked") {
  const TemporaryDirectory directory;
  const fs::path path = directory.path() / "model";
  fs::create_directory(path);
  std::ofstream(path / "precious") << "text";
  const Model model = random_model(tiny_config(), 1, at::kFloat);
  CHECK_THROWS_NAMING(save_model(model, path), Error, path.string());
  CHECK(names_in(path) == std::set<std::string>{"precious"});
  CHECK_THROWS_NAMING(save_model(model, path, {.replace = true}), Error, "that of a model");
  CHECK(names_in(path) == std::set<std::string>{"precious"});
  std::ofstream(path / "config.json") << R"({"model_type": "llama"})";
  save_model(model, path, {.replace = true});
  CHECK_FALSE(names_in(path).contains("precious"));
  CHECK(names_in(directory.path()) == std::set<std::string>{"model"});
  CHECK_NOTHROW(load_model(path));
}

TEST_CASE("a save that fails or is interrupted leaves no trace, and the old model in place") {
  const TemporaryDirectory directory;
  const fs::path path = directory.path() / "model";
  Model model = random_model(tiny_config(), 1, at::kFloat);
  const auto stop = [](const Progress& p) {
    if (p.step == 5) throw Interrupted("enough");
  };
  CHECK_THROWS_AS(save_model(model, path, {}, stop), Interrupted);
  CHECK(names_in(directory.path()).empty());
  CHECK_THROWS_AS(save_model(model, path / "deeper"), Error);  // its parent is missing
  CHECK(names_in(directory.path()).empty());

  save_model(model, path);
  CHECK_THROWS_AS(save_model(model, path, {.replace = true}, stop), Interrupted);
  CHECK(names_in(directory.path()) == std::set<std::string>{"model"});
  CHECK_NOTHROW(load_model(path));

  auto parameters = model.decoder().named_parameters();
  parameters["model.layers.1.mlp.up_proj.weight"][0][0].fill_(1e6);
  CHECK_THROWS_NAMING(save_model(model, path, {.dtype = at::kHalf, .replace = true}), NumericError,
                      "model.layers.1.mlp.up_proj.weight overflows float16");
  CHECK(names_in(directory.path()) == std::set<std::string>{"model"});
}

TEST_CASE("a slicing run that is interrupted before its save leaves nothing on the disk") {
  const TemporaryDirectory directory;
  const auto job = [&] {
    Model model = random_model(tiny_config(), 1, at::kFloat);
    AtomicDirectory output(directory.path() / "sliced",
                           /*replace=*/false);  // as the program does: early
    slice_model(model, random_tokens(model.config(), 4, 16), {}, [](const Progress& p) {
      if (p.step == 2) throw Interrupted("enough");
    });
    write_model(model, output.path());
    output.commit();
  };
  CHECK_THROWS_AS(job(), Interrupted);
  CHECK(names_in(directory.path()).empty());
}

TEST_CASE("a model is not copied by accident, and shares its weights when asked to") {
  STATIC_CHECK_FALSE(std::is_copy_constructible_v<Model>);
  STATIC_CHECK_FALSE(std::is_copy_assignable_v<Model>);
  const Model model = random_model(tiny_config()), shared = model.share();
  CHECK(&shared.decoder() == &model.decoder());
}

}  // namespace
}  // namespace slice
