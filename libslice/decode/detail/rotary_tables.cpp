#include "libslice/decode/detail/rotary_tables.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <optional>

#include "libslice/model/rotary.h"

namespace slice::detail {

using at::Tensor;

namespace {

/// Angles (n, r/2) float64 of the positions first, first + 1 …
Tensor angles(const Rotary& rotary, int64_t first, int64_t n, int64_t length, at::Device device) {
  const auto options = at::TensorOptions(device).dtype(at::kDouble);
  return at::outer(at::arange(first, first + n, options),
                   at::tensor(rotary.frequencies(length), at::kDouble).to(device));
}

RotaryTable table_of(const Rotary& rotary, const Tensor& angle) {
  const auto turned = [&](const Tensor& x) {
    return (rotary.magnitude() == 1 ? x : x * rotary.magnitude()).to(at::kFloat);
  };
  return {2 * angle.size(1), turned(angle.cos()), turned(angle.sin())};
}

/// Row p is that of the last token of a text of p + 1.
RotaryTable growing_table(const Rotary& rotary, const std::optional<RopeScaling>& scaling,
                          int64_t positions, at::Device device) {
  using Kind = RopeScaling::Kind;
  const bool grows = scaling && scaling->kind == Kind::kDynamic,
             steps = scaling && scaling->kind == Kind::kLongRope;
  const int64_t original =
      grows || steps ? std::min(positions, scaling->original_context) : positions;
  std::vector<Tensor> parts = {angles(rotary, 0, original, 1, device)};
  if (steps && original < positions)
    parts.push_back(angles(rotary, original, positions - original, original + 1, device));
  for (int64_t p = original; grows && p < positions; ++p)
    parts.push_back(angles(rotary, p, 1, p + 1, device));
  return table_of(rotary, at::cat(parts));
}

/// Whether two layers turn alike.
bool alike(const ModelConfig& c, int64_t a, int64_t b) {
  const auto own_base = [&](int64_t layer) { return c.window(layer) > 0 && c.window_rope_theta; };
  return c.turning(a) == c.turning(b) && own_base(a) == own_base(b);
}

}  // namespace

RotaryTables::RotaryTables(const ModelConfig& config, int64_t positions, at::Device device)
    : config_(&config), device_(device) {
  std::vector<int64_t> first;  // layer of each table
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    const auto same = std::find_if(first.begin(), first.end(),
                                   [&](int64_t other) { return alike(config, layer, other); });
    number_.push_back(static_cast<size_t>(same - first.begin()));
    if (same != first.end()) continue;
    first.push_back(layer);
    const auto rotary = Rotary::of_layer(config, layer);
    const bool scaled = !(config.window(layer) > 0 && config.window_rope_theta);
    tables_.push_back(rotary ? growing_table(*rotary, scaled ? config.rope_scaling : std::nullopt,
                                             positions, device)
                             : RotaryTable{});
  }
}

RotaryTables RotaryTables::of_text(int64_t length) const {
  if (!depend_on_length(*config_) || length <= config_->rope_scaling->original_context)
    return *this;
  RotaryTables text = *this;
  for (int64_t layer = 0; layer < config_->layers; ++layer) {
    if (const auto rotary = Rotary::of_layer(*config_, layer))
      text.tables_[number_[layer]] = table_of(*rotary, angles(*rotary, 0, length, length, device_));
  }
  return text;
}

bool RotaryTables::depend_on_length(const ModelConfig& config) {
  using Kind = RopeScaling::Kind;
  return config.rope_scaling && (config.rope_scaling->kind == Kind::kDynamic ||
                                 config.rope_scaling->kind == Kind::kLongRope);
}

}  // namespace slice::detail
