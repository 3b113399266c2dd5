#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "libslice/decode/batch.h"

namespace slice {

/// Tokens of a prompt that are worth copying: it costs about as much as a few.
inline constexpr int64_t kLeastReuse = 16;

/// A text that has a slot of a batch.
struct Batch::Text {
  int64_t id;
  GenerateOptions options;
  std::vector<int64_t> ids;  // the prompt, and what was written after it
  int64_t prompt;            // tokens
  int64_t fed = 0;           // of them, in the slot
  int64_t reused = 0;        // of those, copied from another text
  bool changed = false;      // its logits may be

  int64_t length() const { return static_cast<int64_t>(ids.size()); }
  int64_t written() const { return length() - prompt; }
  bool has_prompt() const { return fed == prompt; }
  /// Whether its logits are those after its prompt.
  bool is_fresh() const { return has_prompt() && written() == 0 && !changed; }
  /// Tokens whose keys and values are in the slot; of a text that ended the last one may be.
  std::span<const int64_t> in_cache() const {
    return std::span(ids).first(has_prompt() ? std::max(prompt, length() - 1) : fed);
  }
};

}  // namespace slice
