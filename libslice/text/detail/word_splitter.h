#pragma once

#include <functional>
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
  void split(std::string_view text, const Sink& sink) { split_from(0, text, sink); }

 private:
  struct Stage {
    Split::Matches matches;
    bool invert;
    RegexMatcher regex;
  };
  WordSplitter() = default;
  void split_from(size_t stage, std::string_view text, const Sink& sink);

  std::vector<Stage> stages_;
};

}  // namespace slice::detail
