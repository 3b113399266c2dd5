#include "libslice/model/config.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "libslice/model/detail/shortcut_names.h"

namespace slice {

int64_t ModelConfig::stream_size(int64_t site) const {
  return stream_sizes.empty() ? hidden_size : stream_sizes.at(static_cast<size_t>(site));
}

int64_t ModelConfig::ffn_width(int64_t layer) const {
  return ffn_sizes.empty() ? ffn_size : ffn_sizes.at(static_cast<size_t>(layer));
}

int64_t ModelConfig::positions() const {
  return learned_positions > 0 ? learned_positions - position_offset
                               : std::numeric_limits<int64_t>::max();
}

int64_t ModelConfig::window(int64_t layer) const {
  const bool has = window_layers.empty() || window_layers.at(static_cast<size_t>(layer));
  return has ? sliding_window.value_or(0) : 0;
}

int64_t ModelConfig::turning(int64_t layer) const {
  const bool turns = rotary_layers.empty() || rotary_layers.at(static_cast<size_t>(layer));
  return turns && learned_positions == 0 ? rotary_size.value_or(head_size) : 0;
}

std::vector<int64_t> ModelConfig::ffn_widths() const {
  return ffn_sizes.empty() ? std::vector<int64_t>(static_cast<size_t>(layers), ffn_size)
                           : ffn_sizes;
}

ShortcutForm ModelConfig::shortcut_of(int64_t sublayer) const {
  if (!sliced()) return ShortcutForm::kNone;
  const bool extends = stream_size(sublayer) < stream_size(sublayer + 1);
  if (shortcut != ShortcutForm::kDense && extends) return ShortcutForm::kNone;
  if (shortcut == ShortcutForm::kDiagonal && sublayer % 2 == 1) return ShortcutForm::kDense;
  return shortcut;
}

std::string shortcut_name(ShortcutForm form) {
  for (const auto& [known, name] : detail::kShortcutNames)
    if (known == form) return name;
  return "";
}

ModelConfig narrowed_config(ModelConfig config, std::vector<int64_t> ffn_sizes) {
  const bool equal = std::all_of(ffn_sizes.begin(), ffn_sizes.end(),
                                 [&](int64_t size) { return size == ffn_sizes.front(); });
  if (equal && !ffn_sizes.empty()) {
    config.ffn_size = ffn_sizes.front();
    ffn_sizes.clear();
  }
  config.ffn_sizes = std::move(ffn_sizes);
  return config;
}

ModelConfig sliced_config(const ModelConfig& dense, std::vector<int64_t> stream_sizes,
                          bool keep_tie) {
  ModelConfig sliced = dense;
  sliced.stream_sizes = std::move(stream_sizes);
  sliced.tied_head = dense.tied_head && keep_tie;
  if (!dense.shifts()) return sliced;
  sliced.qkv_bias = sliced.mlp_bias = true;        // W β of their norms
  if (!sliced.tied_head) sliced.head_bias = true;  // the map of a tied head has a bias for it
  return sliced;
}

}  // namespace slice
