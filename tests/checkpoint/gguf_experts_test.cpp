// GGUF files of models with experts: stacks of matrices, a router, and constants in the metadata.

#include <ATen/ATen.h>

#include <catch2/catch_all.hpp>
#include <filesystem>
#include <functional>
#include <map>

#include "libslice/base/error.h"
#include "libslice/checkpoint/checkpoint.h"
#include "libslice/checkpoint/gguf_write.h"
#include "libslice/checkpoint/model.h"
#include "libslice/format/gguf.h"
#include "libslice/model/decoder.h"
#include "libslice/slicing/slice_checkpoint.h"
#include "tests/support/gguf_writer.h"
#include "tests/support/matchers.h"
#include "tests/support/places.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

namespace fs = std::filesystem;
using at::Tensor;
using namespace tests;
using W = GgufWriter;

constexpr int64_t kExperts = 3, kHidden = 32, kWidth = 12, kVocabulary = 11;

std::string bytes_of(const Tensor& tensor) {
  return {static_cast<const char*>(tensor.const_data_ptr()), static_cast<size_t>(tensor.nbytes())};
}

/// A file of one layer with experts. What a test wants to be wrong, it sets.
struct ExpertsFile {
  explicit ExpertsFile(std::string named = "qwen3moe") : architecture(std::move(named)) {
    for (const auto& [key, value] :
         {std::pair("block_count", 1), std::pair("embedding_length", 32),
          std::pair("feed_forward_length", 12), std::pair("expert_feed_forward_length", 12),
          std::pair("attention.head_count", 4), std::pair("attention.head_count_kv", 4),
          std::pair("context_length", 64), std::pair("expert_count", 3),
          std::pair("expert_used_count", 2)})
      numbers[key] = value;
    for (const char* name : {"attn_q", "attn_k", "attn_v", "attn_output"})
      tensors[std::string("blk.0.") + name + ".weight"] = at::randn({kHidden, kHidden});
    for (const char* name : {"blk.0.attn_norm", "blk.0.ffn_norm", "output_norm"})
      tensors[std::string(name) + ".weight"] = at::ones({kHidden});
    for (const char* name : {"token_embd.weight", "output.weight"})
      tensors[name] = at::randn({kVocabulary, kHidden});
    if (architecture != "llama") {
      const int64_t size = architecture == "olmoe" ? kHidden : kHidden / 4;
      for (const char* name : {"blk.0.attn_q_norm.weight", "blk.0.attn_k_norm.weight"})
        tensors[name] = at::ones({size});
    }
    tensors["blk.0.ffn_gate_inp.weight"] = at::randn({kExperts, kHidden});
    for (const char* name : {"blk.0.ffn_gate_exps.weight", "blk.0.ffn_up_exps.weight"})
      tensors[name] = at::randn({kExperts, kWidth, kHidden});
    tensors["blk.0.ffn_down_exps.weight"] = at::randn({kExperts, kHidden, kWidth});
  }

  std::string bytes() const {
    W file;
    file.text("general.architecture", architecture);
    for (const auto& [key, value] : numbers) file.value(architecture + "." + key, W::kI32, value);
    file.real(architecture + ".attention.layer_norm_rms_epsilon", 1e-5f);
    for (const auto& [key, value] : reals) file.real(architecture + "." + key, value);
    for (const auto& [key, value] : flags) file.flag(architecture + "." + key, value);
    for (const auto& [name, tensor] : tensors)
      file.tensor(name, tensor.sizes().vec(), W::kTypeF32, bytes_of(tensor));
    return file.bytes();
  }

  std::string architecture;
  std::map<std::string, int32_t> numbers;
  std::map<std::string, float> reals;
  std::map<std::string, bool> flags;
  std::map<std::string, Tensor> tensors;
};

TEST_CASE("an expert is a slice of a stack, in every architecture with experts") {
  const std::pair<const char*, const char*> rows[] = {
      {"llama", "model.layers.0.block_sparse_moe.experts.2.w2.weight"},
      {"qwen3moe", "model.layers.0.mlp.experts.2.down_proj.weight"},
      {"olmoe", "model.layers.0.mlp.experts.2.down_proj.weight"}};
  for (const auto& [architecture, down] : rows) {
    INFO(architecture);
    const TemporaryDirectory directory;
    const ExpertsFile file(architecture);
    const fs::path path = directory.write("x.gguf", file.bytes());
    const auto checkpoint = open_checkpoint(path);
    const ModelConfig& c = checkpoint->config();
    CHECK(c.experts == ExpertSizes{3, 2, std::string(architecture) != "olmoe"});
    CHECK(c.ffn_size == kWidth);
    const Checkpoint::Entry& entry = checkpoint->tensors().at(down);
    CHECK(entry.shape == std::vector<int64_t>{kHidden, kWidth});
    CHECK(bit_difference(checkpoint->read(down),
                         file.tensors.at("blk.0.ffn_down_exps.weight")[2]) == "");
    const Model model = load_model(path);
    const Tensor logits = model.decoder().forward(random_tokens(c, 1, 8));
    CHECK(logits.isfinite().all().item<bool>());
  }
}

TEST_CASE("a GGUF whose experts cannot be run is refused, naming the key or the tensor") {
  using Make = std::function<void(ExpertsFile&)>;
  const auto number = [](const char* key, int32_t value) -> Make {
    return [=](ExpertsFile& f) { f.numbers[key] = value; };
  };
  const auto tensor = [](const char* name, std::vector<int64_t> shape) -> Make {
    return [=](ExpertsFile& f) { f.tensors[name] = at::randn(shape); };
  };
  const auto without = [](const char* name) -> Make {
    return [=](ExpertsFile& f) { f.tensors.erase(name), f.numbers.erase(name); };
  };
  const std::pair<const char*, Make> rows[] = {
      {"qwen3moe.expert_count: want at least 1, got 0", number("expert_count", 0)},
      {"qwen3moe.expert_count: want at least 1, got -1", number("expert_count", -1)},
      {"qwen3moe.expert_count is missing", without("expert_count")},
      {"qwen3moe.expert_used_count is missing", without("expert_used_count")},
      {"qwen3moe.expert_used_count: want 1 … 3, got 4", number("expert_used_count", 4)},
      {"qwen3moe.expert_used_count: want 1 … 3, got 0", number("expert_used_count", 0)},
      {"number of experts: want 1 … 4096, got 1000000000", number("expert_count", 1000000000)},
      {"1000 experts in each of 1000 layers",
       [](ExpertsFile& f) { f.numbers["expert_count"] = f.numbers["block_count"] = 1000; }},
      {"qwen3moe.expert_shared_count 1", number("expert_shared_count", 1)},
      {"qwen3moe.leading_dense_block_count 1", number("leading_dense_block_count", 1)},
      {"qwen3moe.expert_group_count 2", number("expert_group_count", 2)},
      {"qwen3moe.expert_gating_func 2", number("expert_gating_func", 2)},
      {"qwen3moe.expert_weights_scale 2.5",
       [](ExpertsFile& f) { f.reals["expert_weights_scale"] = 2.5f; }},
      {"qwen3moe.expert_weights_norm: want true",
       [](ExpertsFile& f) { f.flags["expert_weights_norm"] = false; }},
      {"intermediate_size: want 1", number("expert_feed_forward_length", 0)},
      {"blk.0.ffn_down_exps.weight: want 4 matrices, got (3, 32, 12)", number("expert_count", 4)},
      {"blk.0.ffn_up_exps.weight: want 3 matrices, got (2, 12, 32)",
       tensor("blk.0.ffn_up_exps.weight", {2, 12, 32})},
      {"blk.0.ffn_gate_exps.weight: want 3 matrices, got (3, 32)",
       tensor("blk.0.ffn_gate_exps.weight", {3, 32})},
      {"experts.0.down_proj.weight: want (32, 12), got (32, 11)",
       tensor("blk.0.ffn_down_exps.weight", {3, 32, 11})},
      {"mlp.gate.weight: want (3, 32), got (4, 32)", tensor("blk.0.ffn_gate_inp.weight", {4, 32})},
      {"experts.0.up_proj.weight is missing", without("blk.0.ffn_up_exps.weight")},
      {"mlp.gate.weight is missing", without("blk.0.ffn_gate_inp.weight")},
      {"unexpected tensor blk.0.ffn_up_shexp.weight",
       tensor("blk.0.ffn_up_shexp.weight", {12, 32})},
      {"unexpected tensor blk.0.ffn_up.weight", tensor("blk.0.ffn_up.weight", {12, 32})},
      {"unexpected tensor blk.0.ffn_up_exps.bias", tensor("blk.0.ffn_up_exps.bias", {3, 12})},
      {"want no biases in a qwen3_moe", tensor("blk.0.attn_q.bias", {32})}};
  for (const auto& [message, make] : rows) {
    INFO(message);
    const TemporaryDirectory directory;
    ExpertsFile file;
    make(file);
    const fs::path path = directory.write("x.gguf", file.bytes());
    CHECK_THROWS_NAMING(load_model(path), FormatError, message);
  }
}

TEST_CASE("the first mixtures' files have a tensor for every expert") {
  ExpertsFile file("llama");
  const Tensor stack = file.tensors.at("blk.0.ffn_up_exps.weight");
  file.tensors.erase("blk.0.ffn_up_exps.weight");
  for (int64_t e = 0; e < kExperts; ++e)
    file.tensors["blk.0.ffn_up." + std::to_string(e) + ".weight"] = stack[e].clone();
  const TemporaryDirectory directory;
  const fs::path path = directory.write("x.gguf", file.bytes());
  const Model model = load_model(path);
  const Tensor* second = model.decoder().named_parameters().find(
      "model.layers.0.block_sparse_moe.experts.1.w3.weight");
  REQUIRE(second != nullptr);
  CHECK(bit_difference(*second, stack[1]) == "");
  file.tensors["blk.0.ffn_up.3.weight"] = stack[0].clone();
  CHECK_THROWS_NAMING(open_checkpoint(directory.write("y.gguf", file.bytes())), FormatError,
                      "unexpected tensor model.layers.0.block_sparse_moe.experts.3.w3.weight");
}

TEST_CASE("one expert without a router is the network of all tokens") {
  ExpertsFile file("llama");
  file.numbers["expert_count"] = 1;
  for (const char* part : {"gate", "up", "down"}) {
    const std::string name = std::string("blk.0.ffn_") + part;
    file.tensors[name + ".weight"] = file.tensors.at(name + "_exps.weight")[0].clone();
    file.tensors.erase(name + "_exps.weight");
  }
  file.tensors.erase("blk.0.ffn_gate_inp.weight");
  const TemporaryDirectory directory;
  CHECK(load_model(directory.write("x.gguf", file.bytes())).config().family == "llama");
}

TEST_CASE("experts in a GGUF of a family without such are refused") {
  const TemporaryDirectory directory;
  ExpertsFile file("qwen3");
  CHECK_THROWS_NAMING(open_checkpoint(directory.write("x.gguf", file.bytes())), FormatError,
                      "qwen3.expert_count: experts are not supported in a qwen3");
  ExpertsFile dense("llama");
  dense.numbers["expert_count"] = 0;
  CHECK_THROWS_NAMING(open_checkpoint(directory.write("y.gguf", dense.bytes())), FormatError,
                      "unexpected tensor blk.0.ffn_down_exps.weight");
}

/// Of exact numbers, so that a GGUF file has the same configuration, and rows of whole blocks.
ModelConfig exact_mixture() {
  ModelConfig c = tiny_families_with_experts()[1];
  c.experts.normalised = true;
  c.norm_eps = 0x1p-17;
  c.hidden_size = 64;
  c.ffn_size = 32;
  return c;
}

TEST_CASE("quantised stacks are written and read by their slices; a router stays float32") {
  const ModelConfig config = exact_mixture();
  const Model model = random_model(config, 3, at::kFloat);
  const TemporaryDirectory directory;
  const fs::path path = directory.path() / "m.gguf";
  save_gguf(model, path, {.type = GgufType::kQ8_0});
  const GgufFile file(path);
  const auto& stack = file.tensors().at("blk.1.ffn_up_exps.weight");
  CHECK(GgufFile::type_name(stack.type) == "Q8_0");
  CHECK(stack.shape == std::vector<int64_t>{config.experts.count, 32, 64});
  CHECK(GgufFile::type_name(file.tensors().at("blk.1.ffn_gate_inp.weight").type) == "F32");
  const auto checkpoint = open_checkpoint(path);
  const auto parameters = model.decoder().named_parameters();
  const Tensor whole = file.read("blk.1.ffn_up_exps.weight");
  for (int64_t e = 0; e < config.experts.count; ++e) {
    const std::string name = "model.layers.1.mlp.experts." + std::to_string(e) + ".up_proj.weight";
    CHECK(checkpoint->tensors().at(name).quantised);
    const Tensor read = checkpoint->read(name), exact = *parameters.find(name);
    CHECK(bit_difference(read, whole[e]) == "");
    // Half a step of a block's scale, and the rounding of that.
    CHECK((read - exact).abs().max().item<float>() <= exact.abs().max().item<float>() / 250);
  }
}

TEST_CASE("a model with experts is sliced layer by layer from a GGUF file") {
  const ModelConfig config = exact_mixture();
  const TemporaryDirectory scratch;
  const Model model = random_model(config, 5, at::kFloat);
  save_model(model, scratch.path() / "dense");
  save_gguf(model, scratch.path() / "dense.gguf");
  const Tensor tokens = random_tokens(config, 9, 16), read = random_tokens(config, 2, 12, 7);
  const auto sliced = [&](const char* source, const char* result) {
    fs::create_directory(scratch.path() / result);
    const auto checkpoint = open_checkpoint(scratch.path() / source);
    slice_checkpoint(*checkpoint, tokens, {.slice = 0.3, .round = 2}, scratch.path() / result, {},
                     nullptr);
    return load_model(scratch.path() / result).decoder().forward(read);
  };
  CHECK(bit_difference(sliced("dense", "a"), sliced("dense.gguf", "b")) == "");
}

TEST_CASE("xIELU's constants are lists of a GGUF's metadata") {
  ModelConfig config = read_config(tests::data_directory() / "tiny_apertus");
  config.rope_scaling.reset();
  const TemporaryDirectory directory;
  const Model model = random_model(config, 3, at::kFloat);
  save_gguf(model, directory.path() / "m.gguf");
  const GgufFile file(directory.path() / "m.gguf");
  const Tensor* alpha =
      model.decoder().named_parameters().find("model.layers.1.mlp.act_fn.alpha_p");
  REQUIRE(alpha != nullptr);
  const auto list = file.get<std::vector<double>>("xielu.alpha_p");
  CHECK(list.size() == 2);
  CHECK(list.at(1) == alpha->item<float>());
  const Model again = load_model(directory.path() / "m.gguf");
  const Tensor tokens = random_tokens(config, 2, 12, 7);
  CHECK(bit_difference(again.decoder().forward(tokens), model.decoder().forward(tokens)) == "");
}

}  // namespace
}  // namespace slice
