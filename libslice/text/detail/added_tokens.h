#pragma once

#include <array>
#include <functional>
#include <string_view>
#include <vector>

#include "libslice/text/bpe.h"

namespace slice::detail {

/// Finds added tokens in a text: the leftmost first, of several at one place the longest.
class AddedTokenFinder {
 public:
  AddedTokenFinder() = default;
  explicit AddedTokenFinder(std::vector<AddedToken> tokens);

  /// Calls `on_text` for what lies between tokens (never empty) and `on_token` for each, in order.
  /// Special tokens count only with `special`.
  void find(std::string_view text, bool special,
            const std::function<void(std::string_view)>& on_text,
            const std::function<void(int64_t)>& on_token) const;

 private:
  const AddedToken* longest_at(std::string_view text, size_t offset, bool special) const;

  std::vector<AddedToken> tokens_;  // sorted by content
  // Tokens beginning with byte b: [first_byte_[b], first_byte_[b + 1]).
  std::array<size_t, 257> first_byte_ = {};
};

}  // namespace slice::detail
