#include "libslice/text/detail/word_beginnings.h"

#include <algorithm>
#include <numeric>

namespace slice::detail {
namespace {

uint64_t key(WordBeginnings::State node, uint8_t byte) {
  return static_cast<uint64_t>(node) << 8 | byte;
}

}  // namespace

WordBeginnings::WordBeginnings(const std::vector<std::string_view>& words) {
  for (size_t i = 0; i < words.size(); ++i) add(words[i], static_cast<int32_t>(i));
  // Suffixes are shorter: by depth, each finds those of its parent done.
  std::vector<State> order(nodes_.size());
  std::iota(order.begin(), order.end(), State{0});
  std::ranges::stable_sort(order, {}, [&](State node) { return nodes_[node].depth; });
  for (const State node : order) {
    Node& n = nodes_[node];
    if (n.depth > 1) n.suffix = before(n.byte, nodes_[n.parent].suffix);
    if (n.depth > 0) n.shorter = longest(n.suffix);
  }
}

void WordBeginnings::add(std::string_view word, int32_t number) {
  State node = kStart;
  for (auto c = word.rbegin(); c != word.rend(); ++c) {
    const auto byte = static_cast<uint8_t>(*c);
    State next = child(node, byte);
    if (next == kNone) {
      next = static_cast<State>(nodes_.size());
      nodes_.push_back({.parent = node, .depth = nodes_[node].depth + 1, .byte = byte});
      if (node == kStart)
        first_[byte] = next;
      else
        children_.emplace(key(node, byte), next);
    }
    node = next;
  }
  if (nodes_[node].word == kNone) nodes_[node].word = number;
}

WordBeginnings::State WordBeginnings::child(State node, uint8_t byte) const {
  if (node == kStart) return first_[byte] == kStart ? kNone : first_[byte];
  const auto found = children_.find(key(node, byte));
  return found == children_.end() ? kNone : found->second;
}

WordBeginnings::State WordBeginnings::before(uint8_t byte, State after) const {
  for (; after != kStart; after = nodes_[after].suffix) {
    if (const State next = child(after, byte); next != kNone) return next;
  }
  return first_[byte];
}

}  // namespace slice::detail
