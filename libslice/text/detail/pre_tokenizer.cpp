#include "libslice/text/detail/pre_tokenizer.h"

#include <algorithm>

#include "libslice/text/detail/pre_tokenizer_table.h"

namespace slice::detail {
namespace {

const PreTokenizer* find_pre_tokenizer(const std::string& name) {
  for (const PreTokenizer& entry : pre_tokenizers()) {
    if (std::ranges::find(entry.names, name) != entry.names.end()) return &entry;
  }
  return nullptr;
}

}  // namespace

bool add_pre_tokenizer(const std::string& name, BpeDefinition& definition) {
  const PreTokenizer* pre_tokenizer = find_pre_tokenizer(name);
  if (!pre_tokenizer) return false;
  for (const char* pattern : pre_tokenizer->patterns) {
    definition.splits.push_back({pattern, Split::Matches::kIsolated, false, false, {}});
  }
  if (pre_tokenizer->nfc) definition.normalizers.push_back({Normalizer::Kind::kNfc, "", ""});
  definition.ignore_merges = pre_tokenizer->ignore_merges;
  definition.adds_bos = pre_tokenizer->adds_bos;
  return true;
}

std::string pre_tokenizer_name(const BpeDefinition& definition) {
  for (const PreTokenizer& entry : pre_tokenizers()) {
    const bool same_words = std::ranges::equal(
        definition.splits, entry.patterns, [](const Split& split, const char* pattern) {
          return split.pattern == pattern && split.matches == Split::Matches::kIsolated &&
                 !split.invert && !split.spelled && split.changes.empty();
        });
    const bool same_normalizers =
        definition.normalizers.size() == (entry.nfc ? 1 : 0) &&
        definition.piece_normalizers.empty() &&
        std::ranges::all_of(definition.normalizers, [](const Normalizer& normalizer) {
          return normalizer.kind == Normalizer::Kind::kNfc;
        });
    if (same_words && same_normalizers && definition.ignore_merges == entry.ignore_merges)
      return entry.names.front();
  }
  return "";
}

}  // namespace slice::detail
