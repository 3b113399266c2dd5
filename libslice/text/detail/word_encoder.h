#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "libslice/text/bpe.h"

namespace slice::detail {

struct TextHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
};
/// A map from texts that is searched by string_view without a copy.
template <typename T>
using TextMap = std::unordered_map<std::string, T, TextHash, std::equal_to<>>;

/// The tables that turn one word into ids. Immutable. `definition` must outlive it.
class WordTables {
 public:
  explicit WordTables(const BpeDefinition& definition);

  /// Appends the ids of a word, or of a part of one that `cut` returned.
  void encode(std::string_view word, std::vector<int32_t>& symbols) const;
  /// End of the first part of `word` that no merge crosses: encoded part by part, a word has the
  /// same ids.
  size_t cut(std::string_view word) const;
  const BpeDefinition& definition() const { return definition_; }

 private:
  void set_byte(uint8_t byte, size_t id);
  void add_character(std::string_view character, std::vector<int32_t>& symbols) const;
  void add_symbol(int32_t id, std::vector<int32_t>& symbols) const;

  const BpeDefinition& definition_;
  MergeTable table_;
  TextMap<int32_t> ids_;                 // a token's text (kBytes: its bytes) to its id
  std::array<int32_t, 256> byte_ids_;    // the token of a byte, or -1
  std::unordered_set<uint64_t> joined_;  // kCharacters: (left, right) characters of some merge
  bool cuts_ = false;                    // a word can be cut where no merge joins
};

/// Encodes words one after the other into one list of ids, and caches their ids.
class WordEncoder {
 public:
  WordEncoder(const WordTables& tables, std::vector<int64_t>& ids) : tables_(tables), ids_(ids) {}
  void add(std::string_view word);

 private:
  struct Range {
    size_t begin, end;  // in cached_ids_
  };
  void add_part(std::string_view part);
  void append(std::span<const int32_t> ids);

  const WordTables& tables_;
  std::vector<int64_t>& ids_;
  bool last_is_unknown_ = false;
  std::vector<int32_t> symbols_, cached_ids_;
  TextMap<Range> cache_;
};

}  // namespace slice::detail
