#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

// Which whole layers of a model lie on which card. No LibTorch, no CUDA.

namespace slice::bench {

/// Bytes that a placement has to find room for.
struct PlacedBytes {
  int64_t front = 0;            ///< embedding and position rows: on the first card
  std::vector<int64_t> layers;  ///< weights and cache of each; none is split
  int64_t back = 0;             ///< last norm and head: on the last card
  int64_t shared = 0;           ///< of `back`, what a first card holds already (a tied head)

  int64_t total() const {
    return std::accumulate(layers.begin(), layers.end(), front + back - shared);
  }
};

/// Layers on each card, in order.
using Placement = std::vector<int64_t>;

/// Fills cards of `room` bytes one after the other, which takes the fewest; empty where a piece
/// alone is too large.
inline Placement fill_cards(const PlacedBytes& model, int64_t room) {
  if (model.total() <= room) return {std::ssize(model.layers)};
  Placement cards = {0};
  int64_t used = model.front;
  if (used > room) return {};
  const auto put = [&](int64_t bytes, int64_t layers) {
    if (used + bytes > room) {
      cards.push_back(0);
      used = 0;
    }
    cards.back() += layers;
    used += bytes;
    return used <= room;
  };
  for (const int64_t layer : model.layers)
    if (!put(layer, 1)) return {};
  return put(model.back, 0) ? cards : Placement();
}

/// The placement on at most `cards` cards whose fullest card is the least full, and how full it is.
struct Balanced {
  Placement placement;
  int64_t fullest = 0;  ///< bytes
};

inline Balanced balance(const PlacedBytes& model, int64_t cards) {
  int64_t low = 0, high = model.total() + model.shared;  // too little; enough
  while (high - low > 1) {
    const int64_t middle = low + (high - low) / 2;
    const Placement placement = fill_cards(model, middle);
    const bool fits = !placement.empty() && std::ssize(placement) <= cards;
    (fits ? high : low) = middle;
  }
  return {fill_cards(model, high), high};
}

/// Fewest cards of `room` bytes; 0 where no number of them is enough.
inline int64_t fewest_cards(const PlacedBytes& model, int64_t room) {
  return std::ssize(fill_cards(model, room));
}

}  // namespace slice::bench
