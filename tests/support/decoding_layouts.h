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

/// Each of them as it is and in the layouts of custom_layouts(), by name.
/// @param bare  k of one more layout, without_shortcuts(); 0: none
inline std::vector<std::pair<std::string, ModelConfig>> with_custom_layouts(
    const std::vector<ModelConfig>& dense, int64_t bare = 0) {
  std::vector<std::pair<std::string, ModelConfig>> all;
  for (const ModelConfig& config : dense) {
    all.emplace_back("unsliced", config);
    if (config.hidden_size < 20) continue;
    for (auto& layout : custom_layouts(config)) all.push_back(std::move(layout));
    if (bare > 0) all.emplace_back("none", without_shortcuts(config, bare));
  }
  return all;
}

}  // namespace slice::tests
