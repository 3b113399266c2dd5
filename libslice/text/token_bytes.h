#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "libslice/text/tokenizer.h"

namespace slice {

/// The bytes that each token adds to a text, in the order in which a grammar looks at them. Made
/// once for a tokenizer, and shared by all texts; immutable. Special tokens, and ids without a text,
/// have none.
/// Cost: one decode of two ids a token; then about 40 bytes a token and their texts.
class TokenBytes {
 public:
  struct Token {
    int64_t id;
    std::string bytes;
    size_t common;  ///< bytes that it has in common with the one before it
  };
  /// A token of whole characters that a JSON string may hold as they are.
  struct Plain {
    int64_t id;
    int64_t characters;
  };

  explicit TokenBytes(const Tokenizer& tokenizer);

  /// All that have bytes, in their order.
  const std::vector<Token>& sorted() const { return sorted_; }
  /// Those of sorted() that are not plain.
  const std::vector<Token>& others() const { return others_; }
  const std::vector<Plain>& plain() const { return plain_; }
  /// Empty for an id that has none, or is none.
  const std::string& bytes(int64_t id) const;

 private:
  std::vector<Token> sorted_, others_;
  std::vector<Plain> plain_;
  std::vector<size_t> places_;  // in sorted_, by id
};

}  // namespace slice
