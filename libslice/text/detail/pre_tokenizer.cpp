#include "libslice/text/detail/pre_tokenizer.h"

#include <algorithm>
#include <vector>

namespace slice::detail {
namespace {

struct PreTokenizer {
  std::vector<const char*> names;
  std::vector<const char*> patterns;  // applied one after the other
  bool nfc = false, ignore_merges = false, adds_bos = false;
};

// Llama 3's and Qwen2's words differ in the number of digits in one word.
constexpr char kLlama3Words[] =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|)"
    R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr char kQwen2Words[] = R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|)"
                               R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr char kPunctuation[] = R"([\p{P}\$\+<=>\^~\|]+)";

const std::vector<PreTokenizer>& pre_tokenizers() {
  static const std::vector<PreTokenizer> known = {
      {{"default"}, {kPunctuation, kGpt2Words, R"(\p{N}+)", "[0-9][0-9][0-9]"}},
      {{"gpt-2", "phi-2"}, {kGpt2Words}},
      {{"smollm"}, {kNumber, kGpt2Words}},
      {{"llama-bpe", "llama3", "llama-v3"}, {kLlama3Words}, false, true, true},
      {{"qwen2"}, {kQwen2Words}, true},
  };
  return known;
}

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
    definition.splits.push_back({pattern, Split::Matches::kIsolated, false});
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
                 !split.invert;
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
