#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "libslice/text/tokenizer.h"

namespace slice {

/// Byte-pair encoding of one word: while any two neighbours stand in the table, the pair of the
/// lowest priority is joined, the leftmost of equals first.   (Sennrich et al. 2016,
/// arXiv:1508.07909, algorithm 1)
class MergeTable {
 public:
  struct Merge {
    int32_t left, right;  ///< token ids of the two halves
    int32_t merged;       ///< token id of the whole
    int32_t priority;     ///< line number in a list of merges, or place among the falling scores
  };

  /// A pair that comes twice keeps its last entry.
  explicit MergeTable(const std::vector<Merge>& merges);

  /// Merges `symbols` in place until no pair is left.
  /// Cost: O(n²) for short words, where it is the fastest; O(n log n) and 16 bytes a symbol for
  /// long ones.
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

  std::vector<Slot>
      slots_;  // open addressing: a look-up is one cache line, and words are made of look-ups
};

/// A token that is looked for in the text before anything else happens to it.
struct AddedToken {
  int64_t id = 0;
  std::string content;      ///< what is looked for
  bool special = false;     ///< recognised only when asked for; decode leaves it out
  bool normalized = false;  ///< looked for after the normalisation
  bool left_strip = false, right_strip = false;  ///< swallows the white space on that side
};

/// One change of the text before it is cut into words.
struct Normalizer {
  enum class Kind {
    kNfc,                 ///< Unicode normalisation form C
    kReplace,             ///< every `from` becomes `to`
    kPrepend,             ///< `to` in front of a text that is not empty
    kPrependUnlessThere,  ///< the same, unless the text begins with it
    kPrependAtStart,      ///< the same again, only at the start of the whole text
    kSqueeze,             ///< `from` vanishes at the beginning; of several in a row one is left
    kTrimEnd,             ///< `from` vanishes at the end
  };
  Kind kind;
  std::string from, to;
};

/// One stage of cutting a text into words, each word then merged by itself; a stage sees only the
/// piece that the stage before gave it, so look-ahead ends there.
struct Split {
  enum class Matches { kIsolated, kRemoved, kContiguous, kWithPrevious, kWithNext };
  std::string pattern;                   ///< ICU regular expression
  Matches matches = Matches::kIsolated;  ///< what becomes of its matches
  bool invert = false;                   ///< matches and the text between them change places
};

/// Everything that makes a BPE tokenizer, whatever file it came from.
struct BpeDefinition {
  enum class Alphabet {
    kBytes,       ///< tokens spell bytes in GPT-2's printable alphabet (`Ġthe`)
    kCharacters,  ///< tokens are text; a missing character falls back to `<0xNN>` tokens (LLaMA-2)
  };

  std::string source;  ///< file, for messages
  Alphabet alphabet = Alphabet::kBytes;
  std::vector<std::string> tokens;  ///< by id, as written in tokenizer.json, added tokens included
  std::vector<MergeTable::Merge> merges;
  std::vector<AddedToken> added;
  std::vector<Normalizer> normalizers;        ///< before tokens with `normalized` are looked for
  std::vector<Normalizer> piece_normalizers;  ///< after that, on each piece between them
  std::vector<Split> splits;
  std::string space_mark;      ///< kCharacters: what stands for a space inside tokens, " " or "▁"
  bool byte_fallback = false;  ///< kCharacters: `<0xNN>` tokens are used
  bool strip_leading_space = false;  ///< decode drops one space at the start and after bos
  bool ignore_merges = false;        ///< a word that is a token is not merged
  bool fuse_unknown = false;         ///< neighbouring unknown characters give one token
  std::optional<int64_t> unknown, bos,
      padding;  ///< without `unknown` an unknown character vanishes
  std::vector<int64_t> eos;
  bool adds_bos = false;
  std::string chat_template;
};

/// @param files  what Tokenizer::files() gives; written from the definition when empty.
/// @throws FormatError  an id out of range, a token twice, a token not UTF-8, a pattern ICU
/// refuses, a byte
///         token inside a merge, no bos where one is to be added.
std::shared_ptr<const Tokenizer> make_bpe_tokenizer(BpeDefinition definition,
                                                    std::vector<Tokenizer::File> files = {});

/// What a tokenizer of make_bpe_tokenizer was made of; nullptr for one of another kind. Lives as
/// long as the tokenizer.
const BpeDefinition* bpe_definition(const Tokenizer& tokenizer);

}  // namespace slice
