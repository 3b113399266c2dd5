// Parity with Hugging Face Transformers, on the tiny checkpoints that tests/data/make_tiny_llama.py
// and make_tiny_families.py wrote, and with our modeling file there on those of
// make_tiny_sliced.py.

#include <ATen/ATen.h>

#include <catch2/catch_all.hpp>
#include <filesystem>

#include "libslice/checkpoint/model.h"
#include "libslice/decode/generator.h"
#include "libslice/format/safetensors.h"
#include "libslice/model/decoder.h"
#include "libslice/slicing/slice_model.h"
#include "tests/support/error_bounds.h"
#include "tests/support/matchers.h"
#include "tests/support/places.h"
#include "tests/support/reference.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

using at::Tensor;
using namespace tests;

/// A tiny checkpoint with what Transformers computed from it in float32.
struct Golden {
  explicit Golden(const std::string& name)
      : path(tests::data_directory() / name), file(path / "golden.safetensors") {
    const Tensor ids = file.read("prompt"), text = file.read("greedy");
    prompt.assign(ids.const_data_ptr<int64_t>(), ids.const_data_ptr<int64_t>() + ids.numel());
    greedy.assign(text.const_data_ptr<int64_t>(), text.const_data_ptr<int64_t>() + text.numel());
  }
  std::filesystem::path path;
  SafetensorsFile file;
  Tensor tokens = file.read("tokens"), logits = file.read("logits");  // (2, 24), (2, 24, V)
  std::vector<int64_t> prompt, greedy;                                // 8, 64
};

constexpr const char* kNames[] = {"tiny_llama_gqa",
                                  "tiny_llama_tied_biased",
                                  "tiny_llama_sharded_bf16",
                                  "tiny_llama3_scaled",
                                  "tiny_mistral_window",
                                  "tiny_qwen2",
                                  "tiny_qwen2_window",
                                  "tiny_opt",
                                  "tiny_opt_bare",
                                  "tiny_phi",
                                  "tiny_starcoder2",
                                  "tiny_stablelm",
                                  "tiny_stablelm_parallel",
                                  "tiny_olmo",
                                  "tiny_gemma2",
                                  "tiny_gemma3",
                                  "tiny_olmo2",
                                  "tiny_olmo3",
                                  "tiny_exaone4",
                                  "tiny_glm4",
                                  "tiny_gpt_neox",
                                  "tiny_gpt_neox_sequential",
                                  "tiny_gpt2",
                                  "tiny_cohere",
                                  "tiny_cohere2",
                                  "tiny_falcon",
                                  "tiny_falcon_grouped",
                                  "tiny_gptj",
                                  "tiny_nemotron",
                                  "tiny_sliced_cohere",
                                  "tiny_sliced_falcon",
                                  "tiny_sliced_gpt_neox",
                                  "tiny_sliced_gpt2",
                                  "tiny_sliced_gptj",
                                  "tiny_sliced_nemotron",
                                  "tiny_qwen3",
                                  "tiny_phi3_long",
                                  "tiny_phi3_window",
                                  "tiny_smollm3",
                                  "tiny_granite",
                                  "tiny_gemma",
                                  "tiny_seed_oss",
                                  "tiny_arcee",
                                  "tiny_ernie4_5",
                                  "tiny_helium",
                                  "tiny_ministral",
                                  "tiny_mistral_yarn",
                                  "tiny_sliced_llama",
                                  "tiny_sliced_mistral",
                                  "tiny_sliced_qwen2",
                                  "tiny_sliced_opt",
                                  "tiny_sliced_phi",
                                  "tiny_sliced_tied",
                                  "tiny_sliced_stablelm",
                                  "tiny_sliced_starcoder2",
                                  "tiny_sliced_olmo",
                                  "tiny_mixtral",
                                  "tiny_qwen3_moe",
                                  "tiny_olmoe",
                                  "tiny_sliced_mixtral",
                                  "tiny_sliced_qwen3_moe",
                                  "tiny_sliced_olmoe",
                                  "tiny_ministral3",
                                  "tiny_mistral3",
                                  "tiny_gemma3_images",
                                  "tiny_hunyuan",
                                  "tiny_apertus",
                                  "tiny_sliced_apertus"};

TEST_CASE("logits equal those of Transformers, whole and in pieces through the cache") {
  for (const char* name : kNames) {
    INFO(name);
    const Golden golden(name);
    const Model model = load_model(golden.path);
    CHECK(model.decoder().dtype() == at::kFloat);
    CHECK(relative_difference(model.decoder().forward(golden.tokens), golden.logits) < 1e-4);
    Generator generator(model, 24, 2);
    int64_t end = 0;
    for (const int64_t T : {7, 1, 1, 10, 5}) {
      end += T;
      const Tensor last = generator.feed(golden.tokens.slice(1, end - T, end));
      CHECK(relative_difference(last, golden.logits.select(1, end - 1)) < 1e-4);
    }
  }
}

TEST_CASE("64 greedy tokens equal those of Transformers, with and without the cache") {
  for (const char* name : kNames) {
    INFO(name);
    const Golden golden(name);
    REQUIRE(golden.greedy.size() == 64);
    const Model model = load_model(golden.path);
    CHECK(generate(model, golden.prompt, {.max_tokens = 64}) == golden.greedy);
    std::vector<int64_t> ids = golden.prompt;
    for (int i = 0; i < 64; ++i) {
      const Tensor logits = model.decoder().forward(at::tensor(ids, at::kLong).unsqueeze(0));
      ids.push_back(logits[0][-1].argmax().item<int64_t>());
    }
    CHECK(std::vector<int64_t>(ids.begin() + 8, ids.end()) == golden.greedy);
  }
}

TEST_CASE("the float64 oracle of these tests agrees with Transformers too") {
  for (const char* name : {"tiny_llama_gqa", "tiny_llama_tied_biased", "tiny_llama_sharded_bf16"}) {
    INFO(name);
    const Golden golden(name);
    const Model model = load_model(golden.path, {.dtype = at::kDouble});
    const Weights weights = weights_of(model.decoder());
    for (int64_t i = 0; i < 2; ++i) {
      CHECK(relative_difference(logits_reference(model.config(), weights, golden.tokens[i]),
                                golden.logits[i]) < 1e-4);
    }
  }
}

TEST_CASE("the stored dtype of a checkpoint is its own") {
  CHECK(load_model(Golden("tiny_llama_gqa").path).stored_dtype() == at::kFloat);
  CHECK(load_model(Golden("tiny_llama_sharded_bf16").path).stored_dtype() == at::kBFloat16);
}

TEST_CASE("a checkpoint of Transformers, loaded and saved, holds the same tensors") {
  const std::string checkpoint = GENERATE(
      "tiny_llama_tied_biased", "tiny_qwen2", "tiny_opt", "tiny_phi", "tiny_starcoder2",
      "tiny_stablelm_parallel", "tiny_olmo", "tiny_gemma2", "tiny_gemma3", "tiny_olmo2",
      "tiny_olmo3", "tiny_exaone4", "tiny_glm4", "tiny_gpt_neox", "tiny_gpt2", "tiny_cohere2",
      "tiny_falcon", "tiny_falcon_grouped", "tiny_gptj", "tiny_qwen3", "tiny_phi3_long",
      "tiny_phi3_window", "tiny_smollm3", "tiny_granite", "tiny_seed_oss", "tiny_arcee",
      "tiny_ernie4_5", "tiny_helium", "tiny_ministral", "tiny_mistral_yarn", "tiny_mixtral",
      "tiny_qwen3_moe", "tiny_olmoe", "tiny_ministral3", "tiny_hunyuan", "tiny_apertus");
  INFO(checkpoint);
  const Golden golden(checkpoint);
  const TemporaryDirectory directory;
  save_model(load_model(golden.path), directory.path() / "again");
  const SafetensorsFile before(golden.path / "model.safetensors"),
      after(directory.path() / "again/model.safetensors");
  REQUIRE(before.tensors().size() == after.tensors().size());
  for (const auto& [name, entry] : before.tensors()) {
    INFO(name);
    REQUIRE(after.tensors().contains(name));
    const Tensor want = before.read(name);
    if (checkpoint.starts_with("tiny_gemma") && name.ends_with("norm.weight")) {
      // 1 + w is rounded to float32 in between.
      const Tensor bound = rounding_bound(1 + want.to(at::kDouble), at::kFloat);
      CHECK(violation(after.read(name), want, bound) == "");
    } else {
      CHECK(bit_difference(after.read(name), want) == "");
    }
  }
}

TEST_CASE("k = D keeps every checkpoint of Transformers, k = D - 1 those with a LayerNorm") {
  for (const char* name : kNames) {
    INFO(name);
    const Golden golden(name);
    const Model dense = load_model(golden.path, {.dtype = at::kDouble});
    if (dense.config().sliced() || dense.config().norms_outputs()) continue;
    const Tensor logits = dense.decoder().forward(golden.tokens);  // (2, 24, V)
    const int64_t D = dense.config().hidden_size;
    for (const int64_t deleted : {0, 1}) {
      Model model = load_model(golden.path, {.dtype = at::kDouble});
      const double fraction = static_cast<double>(deleted) / static_cast<double>(D);
      const SliceReport report =
          slice_model(model, random_tokens(dense.config(), 8, 24),
                      {.method = Method::kSliceGpt, .slice = fraction, .round = 1});
      REQUIRE(report.stream_sizes[0] == D - deleted);
      const double damage = relative_difference(model.decoder().forward(golden.tokens), logits);
      if (deleted == 0 || dense.config().norm == NormKind::kLayer) {
        CHECK(damage < kSameFunction);
      } else {
        CHECK(damage > 1e-3);
      }
    }
  }
}

TEST_CASE("slicing a checkpoint of Transformers hurts less the less is deleted") {
  const auto checkpoint = GENERATE("tiny_llama_gqa", "tiny_mistral_window", "tiny_opt", "tiny_phi",
                                   "tiny_stablelm_parallel", "tiny_olmo");
  INFO(checkpoint);
  const Golden golden(checkpoint);
  double last = 0;
  for (const double fraction : {0.0, 0.25, 0.5, 0.75}) {
    Model model = load_model(golden.path);
    slice_model(model, golden.tokens, {.method = Method::kSliceGpt, .slice = fraction});
    const double damage =
        relative_difference(model.decoder().forward(golden.tokens), golden.logits);
    if (fraction == 0) CHECK(damage < 1e-4);
    CHECK(damage > last);
    last = damage;
  }
}

}  // namespace
}  // namespace slice
