#include "libslice/checkpoint/state_dict.h"

#include <ATen/ATen.h>

#include <catch2/catch_all.hpp>
#include <filesystem>

#include "libslice/base/detail/file.h"
#include "libslice/base/error.h"
#include "libslice/format/safetensors.h"
#include "libslice/model/decoder.h"
#include "libslice/slicing/slice_model.h"
#include "tests/support/matchers.h"
#include "tests/support/places.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

using at::Tensor;
using namespace tests;

std::filesystem::path data(const std::string& name) { return tests::data_directory() / name; }

/// What Transformers would hold of a directory with one file of weights.
StateDict dict_of(const std::filesystem::path& directory) {
  const SafetensorsFile file(directory / "model.safetensors");
  StateDict dict{.config = detail::read_text_file(directory / "config.json", 1 << 24),
                 .tensors = {}};
  for (const auto& [name, entry] : file.tensors()) dict.tensors[name] = file.read(name);
  return dict;
}

Model model_of(const StateDict& dict) {
  return load_model(*open_state_dict(dict.config, dict.tensors), nullptr);
}

Tensor logits(const Model& model) {
  const at::NoGradGuard no_grad;
  return model.decoder().forward(random_tokens(model.config(), 2, 20));  // (2, 20, V)
}

TEST_CASE("a state dict is the model of a directory with its tensors") {
  for (const char* name :
       {"tiny_llama_gqa", "tiny_llama_tied_biased", "tiny_opt", "tiny_opt_bare", "tiny_phi",
        "tiny_gpt2", "tiny_falcon_grouped", "tiny_gemma2", "tiny_mixtral", "tiny_gemma3_images"}) {
    CAPTURE(name);
    const Model loaded = load_model(data(name)), held = model_of(dict_of(data(name)));
    CHECK(held.config().tied_head == loaded.config().tied_head);
    CHECK(held.stored_dtype() == loaded.stored_dtype());
    CHECK(at::equal(logits(held), logits(loaded)));
  }
}

TEST_CASE("a tied model's state dict may hold its head too, which is the embedding") {
  StateDict dict = dict_of(data("tiny_llama_tied_biased"));
  const Tensor embedding = dict.tensors.at("model.embed_tokens.weight");
  dict.tensors["lm_head.weight"] = embedding;
  CHECK(model_of(dict).config().tied_head);
  dict.tensors["lm_head.weight"] = embedding + 1;
  CHECK_FALSE(model_of(dict).config().tied_head);
}

TEST_CASE("slicing a model of a state dict leaves the given tensors as they are") {
  const StateDict dict = dict_of(data("tiny_llama_gqa"));
  std::map<std::string, Tensor> before;
  for (const auto& [name, tensor] : dict.tensors) before[name] = tensor.clone();
  Model model = model_of(dict);
  slice_model(model, random_tokens(model.config(), 8, 20), {.slice = 0.25});
  for (const auto& [name, tensor] : dict.tensors) CHECK(at::equal(tensor, before.at(name)));
}

TEST_CASE("the state dict of a model is what save_model writes") {
  for (const bool sliced : {false, true}) {
    for (const char* name : {"tiny_llama_gqa", "tiny_phi", "tiny_gpt2"}) {
      CAPTURE(name, sliced);
      Model model = load_model(data(name));
      if (sliced)
        slice_model(model, random_tokens(model.config(), 8, 20),
                    {.slice = 0.25, .head = HeadMode::kSlice});
      const TemporaryDirectory directory;
      save_model(model, directory.path() / "saved");
      const StateDict given = state_dict(model);
      const SafetensorsFile saved(directory.path() / "saved" / "model.safetensors");
      CHECK(given.tensors.size() == saved.tensors().size());
      for (const auto& [tensor, entry] : saved.tensors()) {
        CAPTURE(tensor);
        REQUIRE(given.tensors.contains(tensor));
        CHECK(at::equal(given.tensors.at(tensor).cpu(), saved.read(tensor)));
      }
      CHECK(at::equal(logits(model_of(given)), logits(load_model(directory.path() / "saved"))));
    }
  }
}

TEST_CASE("state dicts are refused as files are, by name") {
  const StateDict dict = dict_of(data("tiny_llama_gqa"));
  const std::string norm = "model.norm.weight";
  const auto refused = [&](const Tensor& tensor, const std::string& what) {
    StateDict changed = dict;
    if (tensor.defined())
      changed.tensors[norm] = tensor;
    else
      changed.tensors.erase(norm);
    CHECK_THROWS_WITH(model_of(changed), Catch::Matchers::ContainsSubstring(norm) &&
                                             Catch::Matchers::ContainsSubstring(what));
  };
  refused({}, "missing");
  refused(at::ones({31}), "(32)");
  refused(at::ones({32}, at::kInt), "floating point");
  refused(at::ones({32}).to_sparse(), "dense");
  refused(at::empty({32}, at::TensorOptions(at::kMeta)), "dense");
  refused(at::full({32}, std::numeric_limits<double>::quiet_NaN()), "");
  CHECK_THROWS_AS(open_state_dict("{", {}), FormatError);
}

TEST_CASE("a state dict in a narrower dtype than its values fit into is refused") {
  StateDict dict = dict_of(data("tiny_llama_gqa"));
  dict.tensors.at("model.embed_tokens.weight")[0][0] = 1e6;
  const Model model = model_of(dict);
  CHECK_THROWS_AS(state_dict(model, at::kHalf), NumericError);
  CHECK(state_dict(model, at::kBFloat16).tensors.at("model.norm.weight").scalar_type() ==
        at::kBFloat16);
}

}  // namespace
}  // namespace slice
