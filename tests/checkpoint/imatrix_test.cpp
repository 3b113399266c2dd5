#include "libslice/checkpoint/imatrix.h"

#include <ATen/ATen.h>

#include <catch2/catch_all.hpp>
#include <filesystem>
#include <set>

#include "libslice/base/error.h"
#include "libslice/checkpoint/gguf_write.h"
#include "libslice/checkpoint/model.h"
#include "libslice/format/gguf.h"
#include "libslice/model/decoder.h"
#include "libslice/model/input_moments.h"
#include "tests/support/error_bounds.h"
#include "tests/support/matchers.h"
#include "tests/support/sliced_layouts.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

namespace fs = std::filesystem;
using at::Tensor;
using namespace tests;

/// Dense, narrowed and sliced models, of both kinds of norm and with experts.
std::vector<ModelConfig> written() {
  const auto families = tiny_families();
  const ModelConfig dense = tiny_config(), &phi = families[3];
  std::vector<ModelConfig> all = {dense,
                                  without_shortcuts(dense, 15),
                                  narrowed_config(dense, {12, 38}),
                                  narrowed_config(without_shortcuts(dense, 10), {12, 38}),
                                  phi,
                                  without_shortcuts(phi, phi.hidden_size - 1)};
  for (const ModelConfig& config : tiny_families_with_experts())
    if (!gguf_obstacle(config)) all.push_back(config);
  REQUIRE(all.back().routed());
  return all;
}

/// Where a GGUF file keeps what a layer of a model loaded from it reads, and which slice that is.
struct Place {
  std::string tensor;
  int64_t slice;
};

Place place_of(const std::string& layer, const ModelConfig& config) {
  static const std::pair<const char*, const char*> kNames[] = {{"q_proj", "attn_q"},
                                                               {"k_proj", "attn_k"},
                                                               {"v_proj", "attn_v"},
                                                               {"o_proj", "attn_output"},
                                                               {"self_attn.dense", "attn_output"},
                                                               {"fc1", "ffn_up"},
                                                               {"fc2", "ffn_down"},
                                                               {"gate_proj", "ffn_gate"},
                                                               {"up_proj", "ffn_up"},
                                                               {"down_proj", "ffn_down"},
                                                               {"w1", "ffn_gate"},
                                                               {"w3", "ffn_up"},
                                                               {"w2", "ffn_down"},
                                                               {".gate", "ffn_gate_inp"}};
  const size_t begin = layer.find("layers.") + 7;
  const std::string number = layer.substr(begin, layer.find('.', begin) - begin);
  const size_t expert = layer.find("experts.");
  for (const auto& [end, name] : kNames) {
    if (!layer.ends_with(end)) continue;
    const bool stacked = config.routed() && expert != std::string::npos;
    return {"blk." + number + "." + name + (stacked ? "_exps" : "") + ".weight",
            stacked ? std::stoll(layer.substr(expert + 8)) : 0};
  }
  throw std::logic_error(layer);
}

TEST_CASE("an importance matrix holds the moments of the model that its GGUF file is") {
  for (const ModelConfig& config : written()) {
    INFO(describe(config));
    const TemporaryDirectory directory;
    const fs::path path = directory.path() / "imatrix.gguf", file = directory.path() / "m.gguf";
    const Model model = random_model(config, 1, at::kFloat);
    const Tensor tokens = random_tokens(config, 3, 17);
    save_imatrix(model, tokens, path, {.texts = {"a.txt", "b.txt"}});
    save_gguf(model, file, {.type = GgufType::kFloat32});

    const GgufFile imatrix(path), gguf(file);
    CHECK(imatrix.get<std::string>("general.type") == "imatrix");
    CHECK(imatrix.get<std::vector<std::string>>("imatrix.datasets") ==
          std::vector<std::string>{"a.txt", "b.txt"});
    CHECK(imatrix.get<int64_t>("imatrix.chunk_count") == 3);
    CHECK(imatrix.get<int64_t>("imatrix.chunk_size") == 17);

    std::set<std::string> want;
    for (const auto& [name, entry] : gguf.tensors()) {
      if (!name.starts_with("blk.") || entry.shape.size() < 2) continue;
      const int64_t slices = entry.shape.size() == 3 ? entry.shape[0] : 1;
      INFO(name);
      want.insert({name + ".in_sum2", name + ".counts"});
      CHECK(imatrix.tensors().at(name + ".in_sum2").shape ==
            std::vector<int64_t>{slices, entry.shape.back()});
      CHECK(imatrix.tensors().at(name + ".counts").shape == std::vector<int64_t>{slices, 1});
    }
    std::set<std::string> got;
    for (const auto& [name, entry] : imatrix.tensors()) got.insert(name);
    CHECK(got == want);

    const Model loaded = load_model(file);
    for (const auto& [layer, moment] : input_moments(loaded.decoder().adapter(), tokens)) {
      const Place place = place_of(layer, loaded.config());
      INFO(layer << " in " << place.tensor);
      const Tensor sums = imatrix.read(place.tensor + ".in_sum2")[place.slice],
                   counts = imatrix.read(place.tensor + ".counts")[place.slice];
      CHECK(counts.item<double>() == static_cast<double>(moment.tokens));
      CHECK(relative_difference(sums.to(at::kDouble), moment.squares) <
            network_allowance(config, at::kFloat));
    }
  }
}

TEST_CASE("no importance matrix of a model that llama.cpp does not run, nor over a file") {
  const TemporaryDirectory directory;
  const fs::path path = directory.path() / "imatrix.gguf";
  const ModelConfig config = tiny_config();
  const Tensor tokens = random_tokens(config, 1, 8);
  ModelConfig shortcuts = without_shortcuts(config, 15);
  shortcuts.shortcut = ShortcutForm::kDense;
  CHECK_THROWS_NAMING(save_imatrix(random_model(shortcuts), tokens, path), FormatError,
                      "imatrix.gguf: llama.cpp runs a sliced model only without shortcuts");
  const Model model = random_model(config);
  CHECK_THROWS_AS(save_imatrix(model, at::zeros({0, 8}, at::kLong), path), ShapeError);
  CHECK_THROWS_AS(save_imatrix(model, at::full({1, 8}, 1000, at::kLong), path), ArgumentError);
  CHECK(fs::is_empty(directory.path()));
  save_imatrix(model, tokens, path);
  CHECK_THROWS_NAMING(save_imatrix(model, tokens, path), Error, "exists already");
  CHECK_NOTHROW(save_imatrix(model, tokens, path, {.replace = true}));
}

}  // namespace
}  // namespace slice
