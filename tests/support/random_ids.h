#pragma once

#include <cstdint>
#include <random>
#include <vector>

namespace slice::tests {

/// `count` ids below the vocabulary's size.
inline std::vector<int64_t> random_ids(std::mt19937& random, int64_t count, int64_t vocabulary) {
  std::vector<int64_t> ids(static_cast<size_t>(count));
  for (int64_t& id : ids) id = static_cast<int64_t>(random() % static_cast<uint64_t>(vocabulary));
  return ids;
}

}  // namespace slice::tests
