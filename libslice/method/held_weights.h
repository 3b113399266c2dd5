#pragma once

#include <cstdint>
#include <functional>

namespace slice {

/// For a model whose weights are not all held at once.
struct HeldWeights {
  int64_t sublayers = 0;  ///< whose weights are held together; 0: all of them always
  /// Told which parts are needed from now on, and no others: first … last; 0 are the embeddings, i
  /// is sublayer i − 1, and the last, one after the sublayers, is the final norm and the head.
  std::function<void(int64_t first, int64_t last)> hold = {};

  /// One part and no others.
  void hold_part(int64_t part) const {
    if (hold) hold(part, part);
  }
};

}  // namespace slice
