#include <ATen/ATen.h>

#include <catch2/catch_all.hpp>
#include <fstream>
#include <nlohmann/json.hpp>

#include "libslice/base/error.h"
#include "libslice/checkpoint/checkpoint.h"
#include "libslice/checkpoint/model.h"
#include "libslice/model/config_json.h"
#include "tests/support/heard_warnings.h"
#include "tests/support/matchers.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/tensor_file.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

namespace fs = std::filesystem;
using at::Tensor;
using namespace tests;

const std::string kLayer = "model.layers.1.";

Tensor logits(const Model& model, const Tensor& tokens) { return model.decoder().forward(tokens); }

TEST_CASE("tensors that no part of the network reads are named once, and the model is the same") {
  const ModelConfig config = tiny_config();  // two layers
  const auto decoder = random_decoder(config, 1, at::kFloat);
  const Tensor tokens = random_tokens(config, 1, 9);
  const NamedTensors extras = {{"v_head.summary.weight", at::ones({1, 24})},
                               {"v_head.summary.bias", at::ones({1})},
                               {"score.weight", at::ones({2, 24}, at::kHalf)},
                               {"model.nothing", at::ones({0, 4})},
                               {"num_batches", at::scalar_tensor(3, at::kLong)},
                               {"model.layers.2.mlp.up_proj.weight", at::ones({38, 24})},
                               {"model.layers.17.input_layernorm.weight", at::ones({24})},
                               {kLayer + "self_attn.k_proj.k_scale", at::ones({1})},
                               {kLayer + "self_attn.rotary_emb.cos_cached", at::ones({4, 3})},
                               {kLayer + "self_attn.bias", at::ones({1, 1, 4, 4}).to(at::kBool)},
                               {kLayer + "self_attn.masked_bias", at::scalar_tensor(-1e4f)},
                               {kLayer + "self_attn.o_proj.bias", at::zeros({24})},
                               {"vision_tower.norm.weight", at::ones({24})}};
  const TemporaryDirectory directory;
  for (const auto& [name, extra] : extras) {
    CAPTURE(name);
    NamedTensors tensors = tensors_of(*decoder);
    tensors[name] = extra;
    const HeardWarnings heard;
    write_directory(directory.path() / "one", config, tensors);
    const Model model = load_model(directory.path() / "one");
    CHECK(bit_difference(logits(model, tokens), decoder->forward(tokens)) == "");
    CHECK(heard.text() == (directory.path() / "one").string() + ": not used: " + name + "\n");
    fs::remove_all(directory.path() / "one");
  }
  NamedTensors all = tensors_of(*decoder);
  all.insert(extras.begin(), extras.end());
  write_directory(directory.path() / "all", config, all);
  const HeardWarnings heard;
  open_checkpoint(directory.path() / "all");
  CHECK(heard.text().ends_with(" and 5 more\n"));
}

TEST_CASE("a tensor that would change what the network computes is refused by name") {
  const ModelConfig config = tiny_config();
  const NamedTensors plain = tensors_of(*random_decoder(config, 1, at::kFloat));
  struct Row {
    std::string name, reason;
    Tensor tensor;
  };
  const std::string none = "a llama of this configuration has none";
  const std::vector<Row> rows = {
      {kLayer + "self_attn.q_norm.weight", none, at::ones({6})},
      {kLayer + "self_attn.o_proj.bias", none, at::ones({24})},
      {kLayer + "post_feedforward_layernorm.weight", none, at::ones({24})},
      {kLayer + "self_attn.sinks", none, at::ones({4})},
      {"model.layers.x.mlp.up_proj.weight", none, at::ones({38, 24})},
      {"model.norm.bias", none, at::ones({24})},
      {"model.embed_norm.weight", none, at::ones({24})},
      {"model.embed_positions.weight", none, at::ones({9, 24})},
      {"lm_head.bias", none, at::ones({config.vocabulary_size})},
      {kLayer + "mlp.up_proj.lora_A.weight", "adapter", at::ones({2, 24})},
      {"base_model.model.score.modules_to_save.weight", "adapter", at::ones({2, 24})},
      {kLayer + "mlp.up_proj.weight_scale", "quantised", at::ones({38})},
      {kLayer + "mlp.up_proj.qzeros", "quantised", at::ones({1, 4}, at::kInt)},
      {kLayer + "mlp.up_proj.weight.absmax", "quantised", at::ones({38})},
      {"lm_head.weight.quant_state.bitsandbytes__nf4", "quantised", at::ones({4}, at::kByte)}};
  for (const Row& row : rows) {
    CAPTURE(row.name);
    const TemporaryDirectory directory;
    NamedTensors tensors = plain;
    tensors[row.name] = row.tensor;
    write_directory(directory.path() / "m", config, tensors);
    CHECK_THROWS_NAMING(open_checkpoint(directory.path() / "m"), FormatError,
                        "unexpected tensor " + row.name);
    CHECK_THROWS_NAMING(open_checkpoint(directory.path() / "m"), FormatError, row.reason);
  }
}

TEST_CASE("names that a wrapper made longer are refused, naming what it put before them") {
  const ModelConfig config = tiny_config();
  for (const std::string prefix : {"_orig_mod.", "module.", "base_model.model."}) {
    const TemporaryDirectory directory;
    NamedTensors tensors;
    for (const auto& [name, tensor] : tensors_of(*random_decoder(config, 1, at::kFloat)))
      tensors[prefix + name] = tensor;
    write_directory(directory.path() / "m", config, tensors);
    CHECK_THROWS_NAMING(open_checkpoint(directory.path() / "m"), FormatError,
                        "names begin with '" + prefix + "'");
  }
}

TEST_CASE("integers are no weights") {
  const ModelConfig config = tiny_config();
  for (const at::ScalarType dtype : {at::kChar, at::kLong, at::kBool, at::kByte}) {
    const TemporaryDirectory directory;
    NamedTensors tensors = tensors_of(*random_decoder(config, 1, at::kFloat));
    const std::string name = kLayer + "mlp.up_proj.weight";
    tensors[name] = tensors[name].gt(0).to(dtype);
    write_directory(directory.path() / "m", config, tensors);
    CHECK_THROWS_NAMING(load_model(directory.path() / "m"), FormatError,
                        name + ": want a weight in floating point");
  }
}

TEST_CASE("model.safetensors goes before an index, as in Transformers") {
  const ModelConfig config = tiny_config();
  const auto decoder = random_decoder(config, 1, at::kFloat);
  const Tensor tokens = random_tokens(config, 1, 9);
  const TemporaryDirectory directory;
  write_directory(directory.path(), config, tensors_of(*decoder));
  for (const std::string index :
       {R"({"weight_map": {"lm_head.weight": "model-00002-of-00002.safetensors"}})", "{"}) {
    directory.write("model.safetensors.index.json", index);
    CHECK(bit_difference(logits(load_model(directory.path()), tokens), decoder->forward(tokens)) ==
          "");
  }
}

TEST_CASE("an index that is older than its files does not end a load") {
  const ModelConfig config = tiny_config();
  const auto decoder = random_decoder(config, 1, at::kFloat);
  const Tensor tokens = random_tokens(config, 1, 9);
  const TemporaryDirectory directory;
  NamedTensors first = tensors_of(*decoder), second;
  for (const std::string name : {"lm_head.weight", "model.norm.weight"})
    second.insert(first.extract(name));
  write_tensors(directory.path() / "a.safetensors", first);
  write_tensors(directory.path() / "b.safetensors", second);
  std::ofstream(directory.path() / "config.json") << config_json(config, "float32");
  // The norm is said to be in the other file, the inverse frequencies are in none, and most tensors
  // are not listed.
  const nlohmann::json map = {{"lm_head.weight", "b.safetensors"},
                              {"model.norm.weight", "a.safetensors"},
                              {"model.layers.0.self_attn.rotary_emb.inv_freq", "a.safetensors"}};
  directory.write("model.safetensors.index.json", nlohmann::json{{"weight_map", map}}.dump());
  CHECK(bit_difference(logits(load_model(directory.path()), tokens), decoder->forward(tokens)) ==
        "");
}

}  // namespace
}  // namespace slice
