#pragma once

#include <cstdint>
#include <unordered_set>
#include <vector>

namespace slice::detail {

/// Appends the ids of `more` that `ids` lacks, each once and in their order, in linear time: a file
/// may list any number.
inline void unite_inplace(std::vector<int64_t>& ids, const std::vector<int64_t>& more) {
  std::unordered_set<int64_t> known(ids.begin(), ids.end());
  for (const int64_t id : more)
    if (known.insert(id).second) ids.push_back(id);
}

}  // namespace slice::detail
