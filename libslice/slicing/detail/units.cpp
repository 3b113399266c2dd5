#include "libslice/slicing/detail/units.h"

#include <algorithm>
#include <bit>
#include <numeric>

#include "libslice/checkpoint/stock.h"

namespace slice::detail {

namespace {

constexpr int64_t kUnit = 32;        // weights of a block of most quantised types
constexpr int64_t kWideUnit = 256;   // of llama.cpp's K types
constexpr int64_t kWideFrom = 4096;  // channels of which a step of 256 is a sixteenth

/// kUnit, or the largest power of two that leaves a small size so many steps.
int64_t unit_of(int64_t size, int64_t steps) {
  const auto part = static_cast<uint64_t>(size / steps);
  return std::clamp<int64_t>(static_cast<int64_t>(std::bit_floor(part)), 1, kUnit);
}

}  // namespace

int64_t kept_unit(const ModelConfig& dense, const SliceOptions& options, bool stock) {
  if (options.round) return *options.round;
  const int64_t whole = stock ? stock_hidden_unit(dense) : 1;
  return whole > 1 ? std::lcm(int64_t{8}, whole) : unit_of(dense.hidden_size, 8);
}

std::vector<std::vector<int64_t>> channel_units(const ModelConfig& dense,
                                                const SliceOptions& options) {
  std::vector<int64_t> wide, narrow;
  for (const int64_t width : dense.ffn_widths()) {
    narrow.push_back(options.round.value_or(unit_of(width, 32)));
    wide.push_back(options.round || width < kWideFrom ? narrow.back() : kWideUnit);
  }
  if (wide == narrow) return {narrow};
  return {wide, narrow};
}

}  // namespace slice::detail
