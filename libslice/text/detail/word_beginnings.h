#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace slice::detail {

/// Which of a set of words begin at each place of a text, in time linear in the text whatever the
/// words are: the automaton of Aho and Corasick (Communications of the ACM 18(6), 1975) over the
/// reversed words, which reads a text from its end.
class WordBeginnings {
 public:
  using State = int32_t;
  static constexpr State kStart = 0, kNone = -1;

  WordBeginnings() = default;
  /// None of the words is empty; of equal ones the first counts.
  explicit WordBeginnings(const std::vector<std::string_view>& words);

  /// The state in front of `byte`, given the one after it.
  State before(uint8_t byte, State after) const;
  /// The state whose word() is the longest that begins here, or kNone.
  State longest(State state) const {
    return nodes_[state].word >= 0 ? state : nodes_[state].shorter;
  }
  /// The state of the next shorter word that begins here, or kNone.
  State shorter(State state) const { return nodes_[state].shorter; }
  int32_t word(State state) const { return nodes_[state].word; }

 private:
  struct Node {
    State parent, suffix = kStart;  // the longest other word's beginning that ends as this one
    int32_t word = kNone, depth = 0;
    State shorter = kNone;  // the nearest of the suffixes that is a word
    uint8_t byte = 0;
  };
  State child(State node, uint8_t byte) const;
  void add(std::string_view word, int32_t number);

  std::vector<Node> nodes_ = {Node{.parent = kNone}};
  std::array<State, 256> first_ = {};                  // children of the start, else the start
  std::unordered_map<uint64_t, State> children_ = {};  // of other nodes, by node and byte
};

}  // namespace slice::detail
