#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "libslice/text/tokenizer.h"

namespace slice {

/// The text of tokens that come one at a time, in pieces of whole characters. Pieces are UTF-8; all
/// of them, that of finish() the last, join to what Tokenizer::decode adds to the prompt's text when
/// the ids follow it, with U+FFFD in place of bytes that are not UTF-8 (one for each maximal part of
/// a character, Unicode 3.9, as Python's "replace"). Special tokens have no text.
///
/// Not to be shared between threads.
class IncrementalDecoder {
 public:
  /// @param tokenizer  must outlive this
  /// @param prompt     ids before the first one, whose text is not given again; a text may begin
  ///                   otherwise alone than after them (SentencePiece leaves out its first space)
  explicit IncrementalDecoder(const Tokenizer& tokenizer, std::span<const int64_t> prompt = {});

  /// What is certain of the text after one more id; empty where a character is not whole yet.
  /// Cost: the text of at most 40 ids, however long the whole is.
  /// @throws ArgumentError  an id below 0
  std::string push(int64_t id);
  /// What was held back: U+FFFD for a character that never became whole, or nothing.
  std::string finish();

 private:
  void shorten();

  const Tokenizer& tokenizer_;
  std::vector<int64_t> ids_;  // the last ones, of whose text …
  size_t given_ = 0;          // … so many bytes were given
};

}  // namespace slice
