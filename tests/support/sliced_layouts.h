#pragma once

#include <string>
#include <utility>
#include <vector>

#include "libslice/model/config.h"

namespace slice::tests {

/// The configuration sliced to k at every site, with nothing between them.
inline ModelConfig without_shortcuts(const ModelConfig& dense, int64_t k) {
  ModelConfig sliced = sliced_config(dense, std::vector<int64_t>(dense.sites(), k));
  sliced.shortcut = ShortcutForm::kNone;
  return sliced;
}

/// Every sliced layout that needs code of its own in Transformers, by name.
inline std::vector<std::pair<std::string, ModelConfig>> custom_layouts(const ModelConfig& dense) {
  std::vector<int64_t> falling, widths;
  for (int64_t site = 0; site < dense.sites(); ++site) falling.push_back(18 - site % 3);
  for (int64_t layer = 0; layer < dense.layers; ++layer) widths.push_back(dense.ffn_size - layer);
  std::vector<int64_t> last_kept(dense.sites(), 16);
  last_kept.back() = dense.hidden_size;
  const auto with = [&](const std::vector<int64_t>& sizes, ShortcutForm form, int64_t rank = 0) {
    ModelConfig sliced = sliced_config(dense, sizes);
    sliced.shortcut = form;
    sliced.shortcut_rank = rank;
    return sliced;
  };
  const std::vector<int64_t> even(dense.sites(), 16);
  return {{"dense", with(falling, ShortcutForm::kDense)},
          {"dense, last site kept", with(last_kept, ShortcutForm::kDense)},
          {"diagonal", with(even, ShortcutForm::kDiagonal)},
          {"diagonal, last site kept", with(last_kept, ShortcutForm::kDiagonal)},
          {"low rank", with(even, ShortcutForm::kLowRank, 3)},
          {"none, last site kept", with(last_kept, ShortcutForm::kNone)},
          {"none, FFN widths", narrowed_config(with(even, ShortcutForm::kNone), widths)},
          {"dense, FFN widths", narrowed_config(with(even, ShortcutForm::kDense), widths)},
          {"FFN widths alone", narrowed_config(dense, widths)}};
}

}  // namespace slice::tests
