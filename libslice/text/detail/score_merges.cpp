#include "libslice/text/detail/score_merges.h"

#include <algorithm>
#include <set>
#include <string_view>

#include "libslice/text/detail/word_encoder.h"

namespace slice::detail {

std::vector<MergeTable::Merge> merges_from_scores(const std::vector<std::string>& tokens,
                                                  const std::vector<float>& scores,
                                                  const std::vector<bool>& takes_part) {
  TextMap<int32_t> ids;
  std::set<size_t>
      lengths;  // a half has the length of some token: keeps one huge token from costing its square
  std::vector<int32_t> order;
  for (size_t id = 0; id < tokens.size(); ++id) {
    if (!takes_part[id]) continue;
    ids.emplace(tokens[id], static_cast<int32_t>(id));
    lengths.insert(tokens[id].size());
    order.push_back(static_cast<int32_t>(id));
  }
  std::ranges::stable_sort(order, [&](int32_t a, int32_t b) { return scores[a] > scores[b]; });
  std::vector<MergeTable::Merge> merges;
  int32_t priority = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    if (i > 0 && scores[order[i]] != scores[order[i - 1]]) ++priority;
    const std::string_view token = tokens[order[i]];
    for (const size_t length : lengths) {
      if (length >= token.size()) break;
      if (!lengths.contains(token.size() - length)) continue;
      const auto left = ids.find(token.substr(0, length));
      const auto right = ids.find(token.substr(length));
      if (left != ids.end() && right != ids.end()) {
        merges.push_back({left->second, right->second, order[i], priority});
      }
    }
  }
  return merges;
}

}  // namespace slice::detail
