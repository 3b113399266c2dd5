#pragma once

#include <functional>
#include <string_view>
#include <vector>

#include "libslice/text/bpe.h"
#include "libslice/text/detail/word_beginnings.h"

namespace slice::detail {

/// Finds added tokens in a text: the leftmost first, of several at one place the longest.
class AddedTokenFinder {
 public:
  AddedTokenFinder() = default;
  explicit AddedTokenFinder(std::vector<AddedToken> tokens);

  /// Calls `on_text` for what lies between tokens (never empty) and `on_token` for each, in order.
  /// Special tokens count only with `special`. Linear in the text.
  void find(std::string_view text, bool special,
            const std::function<void(std::string_view)>& on_text,
            const std::function<void(int64_t)>& on_token) const;

 private:
  /// States of the places of a text from `begin` on, some thousands.
  void read_states(std::string_view text, size_t begin,
                   std::vector<WordBeginnings::State>& states) const;
  const AddedToken* longest_at(std::string_view text, size_t offset, WordBeginnings::State state,
                               bool special) const;

  std::vector<AddedToken> tokens_;  // sorted by content, none empty
  WordBeginnings beginnings_;       // of tokens_
  size_t longest_ = 0;              // bytes
};

}  // namespace slice::detail
