#include "libslice/decode/detail/rotary_tables.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

namespace slice::detail {

using at::Tensor;

namespace {

RotaryTable as_table(const std::pair<Tensor, Tensor>& turns) {
  const auto& [cosine, sine] = turns;
  return {2 * cosine.size(1), cosine.to(at::kFloat), sine.to(at::kFloat)};
}

/// Row p is that of the last token of a text of p + 1.
RotaryTable growing_table(const Rotary& rotary, int64_t positions, at::Device device) {
  const int64_t fixed = std::min(positions, rotary.fixed_length().value_or(positions));
  const int64_t step = rotary.grows() ? 1 : positions - fixed;
  std::vector<Tensor> cosines, sines;
  const auto add = [&](int64_t first, int64_t n, int64_t length) {
    const auto [cosine, sine] = rotary.turns(first, n, length, device);
    cosines.push_back(cosine);
    sines.push_back(sine);
  };
  add(0, fixed, fixed);
  for (int64_t p = fixed; p < positions; p += step) add(p, step, p + 1);
  return as_table({at::cat(cosines), at::cat(sines)});
}

/// Whether two layers turn alike.
bool alike(const ModelConfig& c, int64_t a, int64_t b) {
  const auto own_base = [&](int64_t layer) { return c.window(layer) > 0 && c.window_rope_theta; };
  return c.turning(a) == c.turning(b) && own_base(a) == own_base(b);
}

}  // namespace

RotaryTables::RotaryTables(const ModelConfig& config, int64_t positions, at::Device device)
    : device_(device) {
  std::vector<int64_t> first;  // layer of each table
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    const auto same = std::find_if(first.begin(), first.end(),
                                   [&](int64_t other) { return alike(config, layer, other); });
    number_.push_back(static_cast<size_t>(same - first.begin()));
    if (same != first.end()) continue;
    first.push_back(layer);
    const auto& rotary = rotaries_.emplace_back(Rotary::of_layer(config, layer));
    tables_.push_back(rotary ? growing_table(*rotary, positions, device) : RotaryTable{});
  }
}

RotaryTables RotaryTables::of_text(int64_t length) const {
  RotaryTables text = *this;
  for (size_t i = 0; i < tables_.size(); ++i) {
    const auto& rotary = rotaries_[i];
    if (rotary && length > rotary->fixed_length().value_or(length))
      text.tables_[i] = as_table(rotary->turns(0, length, length, device_));
  }
  return text;
}

bool RotaryTables::depend_on_length(const ModelConfig& config) {
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    const auto rotary = Rotary::of_layer(config, layer);
    if (rotary && rotary->fixed_length()) return true;
  }
  return false;
}

}  // namespace slice::detail
