#include "libslice/text/sources/tokenizer_gguf_write.h"

#include <algorithm>
#include <iterator>
#include <unordered_set>

#include "libslice/base/detail/check.h"
#include "libslice/text/detail/byte_alphabet.h"
#include "libslice/text/detail/normalizer.h"
#include "libslice/text/detail/pieces.h"
#include "libslice/text/detail/pre_tokenizer.h"
#include "libslice/text/sources/tokenizer_json.h"

namespace slice::detail {
namespace {

using Alphabet = BpeDefinition::Alphabet;

// One for each row of the embedding: tokens beyond it are left out, rows and ids without a token
// get one of a name that no other has.
std::vector<std::string> written_tokens(const BpeDefinition& definition, int64_t vocabulary) {
  std::vector<std::string> tokens = definition.tokens;
  if (definition.alphabet == Alphabet::kCharacters) {
    for (std::string& token : tokens) replace_all_inplace(token, definition.space_mark, kSpaceMark);
  }
  tokens.resize(vocabulary);
  const std::unordered_set<std::string> taken(tokens.begin(), tokens.end());
  for (int64_t id = 0; id < vocabulary; ++id) {
    if (!tokens[id].empty()) continue;
    tokens[id] = detail::formatted("[PAD{}]", id);
    while (taken.contains(tokens[id])) tokens[id] += '_';
  }
  return tokens;
}

std::vector<int32_t> token_types(const BpeDefinition& definition, int64_t vocabulary) {
  std::vector<int32_t> types(std::max<int64_t>(vocabulary, std::ssize(definition.tokens)),
                             Pieces::kUnused);
  for (size_t id = 0; id < definition.tokens.size(); ++id) {
    if (definition.tokens[id].empty()) continue;
    const bool byte = definition.byte_fallback && byte_of_token(definition.tokens[id]);
    types[id] = byte ? Pieces::kByte : Pieces::kNormal;
  }
  for (const AddedToken& token : definition.added)
    types[token.id] = token.special ? Pieces::kControl : Pieces::kUserDefined;
  if (definition.unknown && definition.alphabet == Alphabet::kCharacters)
    types[*definition.unknown] = Pieces::kUnknown;
  types.resize(vocabulary);
  return types;
}

void write_byte_level(const BpeDefinition& definition, const std::vector<std::string>& tokens,
                      GgufHeader& header) {
  const std::string words = pre_tokenizer_name(definition);
  SLICE_FORMAT_CHECK(!words.empty(), "{}: no known pre-tokenizer of llama.cpp cuts these words",
                     definition.source);
  header.text("tokenizer.ggml.model", "gpt2");
  header.text("tokenizer.ggml.pre", words);
  std::vector<MergeTable::Merge> merges = definition.merges;
  std::ranges::stable_sort(merges, {}, &MergeTable::Merge::priority);
  std::vector<std::string> lines;
  lines.reserve(merges.size());
  for (const MergeTable::Merge& merge : merges) {
    if (std::max({merge.left, merge.right, merge.merged}) >= std::ssize(tokens)) continue;
    lines.push_back(tokens[merge.left] + " " + tokens[merge.right]);
  }
  header.texts("tokenizer.ggml.merges", lines);
}

void write_pieces(const BpeDefinition& definition, const std::vector<std::string>& tokens,
                  GgufHeader& header) {
  SLICE_FORMAT_CHECK(definition.byte_fallback,
                     "{}: llama.cpp needs byte tokens in a vocabulary of characters",
                     definition.source);
  header.text("tokenizer.ggml.model", "llama");
  header.text("tokenizer.ggml.pre", "default");
  std::vector<int32_t> first(tokens.size(), -1);  // priority of the first merge that gives a token
  for (const MergeTable::Merge& merge : definition.merges) {
    if (merge.merged >= std::ssize(tokens)) continue;
    int32_t& known = first[merge.merged];
    known = known < 0 ? merge.priority : std::min(known, merge.priority);
  }
  std::vector<float> scores;
  scores.reserve(tokens.size());
  for (const int32_t priority : first) scores.push_back(-static_cast<float>(std::max(priority, 0)));
  header.reals("tokenizer.ggml.scores", scores);
  header.flag("tokenizer.ggml.add_space_prefix", definition.strip_leading_space);
}

}  // namespace

void write_gguf_tokenizer(const BpeDefinition& definition, int64_t vocabulary, GgufHeader& header) {
  const std::vector<std::string> tokens = written_tokens(definition, vocabulary);
  if (definition.alphabet == Alphabet::kBytes) {
    write_byte_level(definition, tokens, header);
  } else {
    write_pieces(definition, tokens, header);
  }
  header.texts("tokenizer.ggml.tokens", tokens);
  header.numbers("tokenizer.ggml.token_type", token_types(definition, vocabulary));
  header.flag("tokenizer.ggml.add_bos_token", definition.adds_bos);
  if (definition.unknown && *definition.unknown < vocabulary)
    header.number("tokenizer.ggml.unknown_token_id", static_cast<uint32_t>(*definition.unknown));
  if (!definition.chat_template.empty())
    header.text("tokenizer.chat_template", definition.chat_template);
}

void write_gguf_special_tokens(std::optional<int64_t> bos, const std::vector<int64_t>& eos,
                               std::optional<int64_t> padding, GgufHeader& header) {
  constexpr const char* kEnds[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                                   "tokenizer.ggml.eom_token_id"};
  if (bos) header.number("tokenizer.ggml.bos_token_id", static_cast<uint32_t>(*bos));
  for (size_t i = 0; i < std::min(eos.size(), std::size(kEnds)); ++i)
    header.number(kEnds[i], static_cast<uint32_t>(eos[i]));
  if (padding) header.number("tokenizer.ggml.padding_token_id", static_cast<uint32_t>(*padding));
}

}  // namespace slice::detail
