#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "libslice/text/tokenizer.h"

namespace slice {

/// Byte-pair encoding of one word: while the table holds a pair of neighbours, the pair with the
/// lowest priority is joined, the leftmost of equals first.
///   (Sennrich et al. 2016, arXiv:1508.07909, algorithm 1)
class MergeTable {
 public:
  struct Merge {
    int32_t left, right;  ///< token ids of the two halves
    int32_t merged;       ///< token id of the whole
    int32_t priority;     ///< line number in a list of merges, or rank among the scores, highest 0
  };

  /// Of a duplicate pair the last entry counts.
  explicit MergeTable(const std::vector<Merge>& merges);

  /// Merges `symbols` in place until no pair is left.
  /// Cost: O(n²) for short words, where that is fastest; O(n log n) and 16 bytes a symbol for long
  /// ones.
  void merge_inplace(std::vector<int32_t>& symbols) const;

 private:
  struct Target {
    int32_t priority, merged;
  };
  struct Slot {
    uint64_t pair;
    Target target;
  };
  size_t slot_of(uint64_t pair) const;
  const Target* find(int32_t left, int32_t right) const;
  void merge_by_scanning(std::vector<int32_t>& symbols) const;
  void merge_by_heap(std::vector<int32_t>& symbols) const;

  std::vector<Slot> slots_;  // open addressing: a look-up, the whole cost here, is one cache line
};

/// A token that is searched for in the text before the text is cut into words.
struct AddedToken {
  int64_t id = 0;
  std::string content;      ///< what is searched for
  bool special = false;     ///< recognised on request only; decode leaves it out
  bool normalized = false;  ///< searched for in the normalised text
  bool left_strip = false, right_strip = false;  ///< takes in the white space on that side
  bool single_word = false;                      ///< only where no word character touches it
};

/// One change of a text before it is cut into words.
struct Normalizer {
  enum class Kind {
    kNfc,                 ///< Unicode normalisation form C
    kNfd,                 ///< D
    kNfkc,                ///< KC
    kNfkd,                ///< KD
    kLowercase,           ///< every character by itself
    kDropMarks,           ///< combining marks are removed
    kReplace,             ///< every `from` becomes `to`
    kReplacePattern,      ///< the same, `from` an ICU regular expression
    kPrepend,             ///< `to` before a text that is not empty
    kPrependUnlessThere,  ///< the same, unless the text begins with it
    kPrependAtStart,      ///< the same again, only at the start of the whole text
    kSqueeze,             ///< `from` is removed at the beginning; of several in a row one is left
    kTrimEnd,             ///< `from` is removed at the end
    kTrimSpaceStart,      ///< white space is removed at the beginning
    kTrimSpaceEnd,        ///< white space is removed at the end
  };
  Kind kind;
  std::string from, to;
};

/// One stage of cutting a text into words, which are then merged one by one. A stage sees only the
/// pieces that the previous stage made, so look-ahead ends at their ends.
struct Split {
  enum class Matches { kIsolated, kRemoved, kContiguous, kWithPrevious, kWithNext };
  std::string pattern;                   ///< ICU regular expression; empty: nothing is cut
  Matches matches = Matches::kIsolated;  ///< what happens to its matches
  bool invert = false;                   ///< matches and the text between them are exchanged
  bool spelled = false;  ///< sees the bytes in GPT-2's printable alphabet, as stages after it do
  std::vector<Normalizer> changes = {};  ///< of each piece, before it is cut
};

/// Everything that defines a BPE tokenizer, independent of the file format.
struct BpeDefinition {
  enum class Alphabet {
    kBytes,       ///< tokens spell bytes in GPT-2's printable alphabet (`Ġthe`)
    kCharacters,  ///< tokens are text; other characters fall back to `<0xNN>` tokens (LLaMA-2)
  };

  std::string source;  ///< file, for messages
  Alphabet alphabet = Alphabet::kBytes;
  /// By id, as in tokenizer.json, with the added tokens; empty where an id has no token.
  std::vector<std::string> tokens;
  std::vector<MergeTable::Merge> merges;
  std::vector<AddedToken> added;
  std::vector<Normalizer> normalizers;        ///< before tokens with `normalized` are searched for
  std::vector<Normalizer> piece_normalizers;  ///< after that, on each piece between them
  std::vector<Split> splits;
  std::string space_mark;      ///< kCharacters: what stands for a space inside tokens, " " or "▁"
  bool byte_fallback = false;  ///< kCharacters: `<0xNN>` tokens are used
  bool strip_leading_space = false;  ///< decode drops one space at the start and after bos
  bool strip_first_marks = false;    ///< decode drops every space mark of the first token
  bool decode_bytes = false;         ///< kCharacters: decode takes tokens for kBytes' spelling
  bool decode_verbatim = false;      ///< decode writes tokens as they are, spaces between them
  std::string word_end;              ///< decode writes a space for it; nothing at the end
  bool ignore_merges = false;        ///< a word that is a token is not merged
  bool fuse_unknown = false;         ///< neighbouring unknown characters give one token
  std::optional<int64_t> unknown;    ///< without it unknown characters are dropped
  std::optional<int64_t> bos, padding;
  std::vector<int64_t> eos;
  bool adds_bos = false;
  std::string chat_template;
};

/// What no text can use is left out with a warning: tokens that are not UTF-8, named ids that are
/// not tokens, merges of such. Of equal tokens the first is found in texts, all are decoded.
/// @param files  what Tokenizer::files() returns; written from the definition when empty
/// @throws FormatError  no tokens, a pattern or template not UTF-8, a pattern that ICU refuses
std::shared_ptr<const Tokenizer> make_bpe_tokenizer(BpeDefinition definition,
                                                    std::vector<Tokenizer::File> files = {});

/// The definition of a tokenizer that make_bpe_tokenizer made; nullptr for other tokenizers. Lives
/// as long as the tokenizer.
const BpeDefinition* bpe_definition(const Tokenizer& tokenizer);

}  // namespace slice
