#include "libslice/text/detail/word_encoder.h"

#include <algorithm>
#include <limits>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/unicode.h"
#include "libslice/text/detail/byte_alphabet.h"

namespace slice::detail {
namespace {

using Alphabet = BpeDefinition::Alphabet;

constexpr int32_t kNone = -1;

// Bounded, so that a huge text takes little more memory than its ids.
constexpr size_t kCachedWords = size_t{1} << 18;
constexpr size_t kCachedWordBytes = 64;

uint64_t pair_key(char32_t left, char32_t right) { return (uint64_t{left} << 32) | right; }

char32_t first_character(std::string_view text) {
  size_t offset = 0;
  return next_character(text, offset);
}

char32_t last_character(std::string_view text) {
  size_t offset = text.size() - 1;
  while (offset > 0 && (text[offset] & 0xC0) == 0x80) --offset;
  return next_character(text, offset);
}

}  // namespace

WordTables::WordTables(const BpeDefinition& definition)
    : definition_(definition), table_(definition.merges) {
  const bool spells_bytes = definition.alphabet == Alphabet::kBytes;
  byte_ids_.fill(kNone);
  ids_.reserve(definition.tokens.size());
  for (size_t id = 0; id < definition.tokens.size(); ++id) {
    const std::string& token = definition.tokens[id];
    if (token.empty()) continue;
    std::string text = spells_bytes ? bytes_of_token(token) : token;
    if (spells_bytes && text.size() == 1) {
      set_byte(static_cast<uint8_t>(text[0]), id);
    } else if (const auto byte = byte_of_token(token); byte && definition.byte_fallback) {
      set_byte(*byte, id);
    }
    ids_.emplace(std::move(text), static_cast<int32_t>(id));
  }
  if (spells_bytes || definition.ignore_merges) return;
  // A character that is dropped makes neighbours of those around it, and so do byte tokens of the
  // bytes of two characters.
  const auto is_byte = [&](int32_t id) { return byte_of_token(definition.tokens[id]).has_value(); };
  const bool drops = !definition.unknown && std::ranges::count(byte_ids_, kNone) > 0;
  cuts_ = !drops && (!definition.byte_fallback ||
                     std::ranges::none_of(definition.merges, [&](const MergeTable::Merge& merge) {
                       return is_byte(merge.left) || is_byte(merge.right);
                     }));
  // A merge joins the last character of its left half to the first of its right half: between two
  // characters that no merge joins, a word can be cut. LLaMA-2 has no other word boundaries.
  for (const MergeTable::Merge& merge : definition.merges) {
    joined_.insert(pair_key(last_character(definition.tokens[merge.left]),
                            first_character(definition.tokens[merge.right])));
  }
}

void WordTables::set_byte(uint8_t byte, size_t id) {
  if (byte_ids_[byte] == kNone) byte_ids_[byte] = static_cast<int32_t>(id);
}

size_t WordTables::cut(std::string_view word) const {
  if (!cuts_) return word.size();
  size_t offset = 0;
  char32_t previous = next_character(word, offset);
  while (offset < word.size()) {
    const size_t begin = offset;
    const char32_t character = next_character(word, offset);
    if (!joined_.contains(pair_key(previous, character))) return begin;
    previous = character;
  }
  return word.size();
}

void WordTables::encode(std::string_view word, std::vector<int32_t>& symbols) const {
  if (definition_.ignore_merges) {
    if (const auto found = ids_.find(word); found != ids_.end()) {
      return symbols.push_back(found->second);
    }
  }
  SLICE_FORMAT_CHECK(word.size() <= std::numeric_limits<int32_t>::max(),
                     "text: a word of {} bytes, want less than 2 GiB", word.size());
  if (definition_.alphabet == Alphabet::kBytes) {
    for (const char byte : word) add_symbol(byte_ids_[static_cast<uint8_t>(byte)], symbols);
  } else {
    for (size_t offset = 0; offset < word.size();) {
      const size_t begin = offset;
      next_character(word, offset);
      add_character(word.substr(begin, offset - begin), symbols);
    }
  }
  table_.merge_inplace(symbols);
}

void WordTables::add_character(std::string_view character, std::vector<int32_t>& symbols) const {
  if (const auto found = ids_.find(character); found != ids_.end()) {
    return symbols.push_back(found->second);
  }
  const auto has_token = [&](char byte) { return byte_ids_[static_cast<uint8_t>(byte)] != kNone; };
  if (!std::ranges::all_of(character, has_token)) return add_symbol(kNone, symbols);
  for (const char byte : character) symbols.push_back(byte_ids_[static_cast<uint8_t>(byte)]);
}

void WordTables::add_symbol(int32_t id, std::vector<int32_t>& symbols) const {
  if (id != kNone) {
    symbols.push_back(id);
  } else if (definition_.unknown) {
    symbols.push_back(static_cast<int32_t>(*definition_.unknown));
  }
}

void WordEncoder::add(std::string_view word) {
  last_is_unknown_ = false;
  while (!word.empty()) {
    const size_t end = tables_.cut(word);
    add_part(word.substr(0, end));
    word.remove_prefix(end);
  }
}

void WordEncoder::add_part(std::string_view part) {
  if (const auto found = cache_.find(part); found != cache_.end()) {
    const auto [begin, end] = found->second;
    return append(std::span(cached_ids_).subspan(begin, end - begin));
  }
  symbols_.clear();
  tables_.encode(part, symbols_);
  append(symbols_);
  if (part.size() <= kCachedWordBytes && cache_.size() < kCachedWords) {
    const size_t begin = cached_ids_.size();
    cached_ids_.insert(cached_ids_.end(), symbols_.begin(), symbols_.end());
    cache_.emplace(part, Range{begin, cached_ids_.size()});
  }
}

void WordEncoder::append(std::span<const int32_t> ids) {
  for (const int32_t id : ids) {
    const bool unknown = tables_.definition().unknown == id;
    const bool fused = unknown && last_is_unknown_ && tables_.definition().fuse_unknown;
    if (!fused) ids_.push_back(id);
    last_is_unknown_ = unknown;
  }
}

}  // namespace slice::detail
