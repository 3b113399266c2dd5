#pragma once

#include <string>
#include <utility>
#include <vector>

#include "tests/support/sliced_layouts.h"
#include "tests/support/tiny_model.h"

namespace slice::tests {

/// Dense models that what runs on a GPU is tested with: all tiny ones, sizes that the kernels take
/// without padding, and those with a window.
inline std::vector<ModelConfig> decoding_configs() {
  std::vector<ModelConfig> dense = tiny_configs();
  for (const ModelConfig& family : tiny_families()) dense.push_back(family);
  ModelConfig aligned = tiny_config();
  aligned.hidden_size = 64;
  aligned.head_size = 16;
  aligned.ffn_size = 96;
  dense.push_back(aligned);
  ModelConfig windowed = aligned;
  windowed.family = "mistral";
  windowed.sliding_window = 7;
  dense.push_back(windowed);
  return dense;
}

/// Dense models with the parts that further families have: norms of heads, constants, layers that
/// turn otherwise, further activations, norms on outputs.
inline std::vector<ModelConfig> decoding_parts() {
  std::vector<ModelConfig> all = tiny_families_with_output_norms();
  ModelConfig qwen3 = tiny_config(), smollm3 = qwen3, yarn = qwen3, nemotron = qwen3, gemma = qwen3;
  qwen3.family = "qwen3";
  qwen3.head_norm = HeadNorm::kEach;
  smollm3.family = "smollm3";
  smollm3.rotary_layers = {false, true};
  yarn.family = "mistral";
  yarn.rope_scaling = RopeScaling{.kind = RopeScaling::Kind::kYarn,
                                  .factor = 4,
                                  .low_frequency_factor = 1,
                                  .high_frequency_factor = 32,
                                  .original_context = 16,
                                  .attention_factor = 1.2};
  nemotron.family = "nemotron";
  nemotron.norm = NormKind::kLayer;
  nemotron.activation = Activation::kRelu2;
  nemotron.gated_mlp = false;
  nemotron.rotary_size = 4;
  gemma.family = "gemma";
  gemma.activation = Activation::kGeluTanh;
  gemma.embedding_scale = 4.9;
  gemma.tied_head = true;
  gemma.head_size = 16;
  for (const ModelConfig& c : {qwen3, smollm3, yarn, nemotron, gemma}) all.push_back(c);
  return all;
}

/// A model with constants everywhere, through which all layouts must carry them.
inline ModelConfig scaled_config() {
  ModelConfig granite = tiny_config();
  granite.family = "granite";
  granite.embedding_scale = 3;
  granite.residual_scale = 0.22;
  granite.logit_scale = 0.125;
  granite.attention_scale = 0.3;
  return granite;
}

/// Each of them as it is and in the layouts of custom_layouts(), by name.
/// @param bare  k of one more layout, without_shortcuts(); 0: none
inline std::vector<std::pair<std::string, ModelConfig>> with_custom_layouts(
    const std::vector<ModelConfig>& dense, int64_t bare = 0) {
  std::vector<std::pair<std::string, ModelConfig>> all;
  for (const ModelConfig& config : dense) {
    all.emplace_back("unsliced", config);
    if (config.hidden_size < 20) continue;
    if (config.tied_head) {
      const std::vector<int64_t> sizes(config.sites(), 16);
      all.emplace_back("tied, with a map", sliced_config(config, sizes, /*keep_tie=*/true));
    }
    for (auto& layout : custom_layouts(config)) all.push_back(std::move(layout));
    if (bare > 0) all.emplace_back("none", without_shortcuts(config, bare));
  }
  return all;
}

/// All layouts of decoding_configs() and of scaled_config(), decoding_parts() as they are.
inline std::vector<std::pair<std::string, ModelConfig>> decoding_layouts(
    std::vector<ModelConfig> further = {}, int64_t bare = 0) {
  std::vector<ModelConfig> dense = decoding_configs();
  dense.push_back(scaled_config());
  dense.insert(dense.end(), further.begin(), further.end());
  auto all = with_custom_layouts(dense, bare);
  for (const ModelConfig& config : decoding_parts()) all.emplace_back("unsliced", config);
  return all;
}

}  // namespace slice::tests
