#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "libslice/base/detail/unicode.h"
#include "libslice/text/bpe.h"

namespace slice::detail {

/// Cuts a text into words by the stages of a pre-tokenizer, each stage on the pieces of the one
/// before. Holds the state of the regular expressions: every thread needs a `clone` of its own.
class WordSplitter {
 public:
  using Sink = std::function<void(std::string_view)>;

  /// @throws FormatError  a pattern that ICU refuses
  WordSplitter(const std::vector<Split>& splits, const std::string& source);
  WordSplitter clone() const;

  /// Calls `sink` with every word, left to right. Memory: constant.
  /// @param at_start  the text begins where the whole text begins
  void split(std::string_view text, bool at_start, const Sink& sink) {
    start_ = at_start ? text.data() : nullptr;
    split_from(0, text, sink);
  }

 private:
  struct Stage {
    Split::Matches matches;
    bool invert;
    std::optional<RegexMatcher> regex;  // none: nothing is cut
    std::vector<Normalizer> changes;
  };
  WordSplitter() = default;
  void split_from(size_t stage, std::string_view text, const Sink& sink);
  void split_at(size_t stage, std::string_view text, const Sink& sink);

  std::vector<Stage> stages_;
  const char* start_ = nullptr;      // of the whole text
  size_t first_spelled_ = SIZE_MAX;  // from this stage on the text is in GPT-2's alphabet
};

}  // namespace slice::detail
