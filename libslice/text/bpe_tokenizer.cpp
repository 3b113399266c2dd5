#include <limits>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/unicode.h"
#include "libslice/text/bpe.h"
#include "libslice/text/detail/added_tokens.h"
#include "libslice/text/detail/byte_alphabet.h"
#include "libslice/text/detail/normalizer.h"
#include "libslice/text/detail/word_encoder.h"
#include "libslice/text/detail/word_splitter.h"
#include "libslice/text/sources/tokenizer_json.h"

namespace slice {
namespace {

using Alphabet = BpeDefinition::Alphabet;

// Members refer to each other, so it is never moved (see make_bpe_tokenizer).
class BpeTokenizer final : public Tokenizer {
 public:
  BpeTokenizer(BpeDefinition definition, std::vector<File> files);
  BpeTokenizer(const BpeTokenizer&) = delete;
  BpeTokenizer& operator=(const BpeTokenizer&) = delete;

  std::vector<int64_t> encode(std::string_view text, bool special) const override;
  std::string decode(std::span<const int64_t> ids, bool special) const override;

  int64_t vocabulary_size() const override { return static_cast<int64_t>(bytes_.size()); }
  std::optional<int64_t> bos_token() const override { return definition_.bos; }
  std::vector<int64_t> eos_tokens() const override { return definition_.eos; }
  bool adds_bos() const override { return definition_.adds_bos; }
  std::string chat_template() const override { return definition_.chat_template; }
  std::vector<File> files() const override { return files_; }
  const BpeDefinition& definition() const { return definition_; }

 private:
  std::string bytes_of(int64_t id, const AddedToken* added) const;

  const BpeDefinition definition_;
  const std::vector<File> files_;
  const detail::WordTables tables_;
  const detail::WordSplitter splitter_;
  detail::AddedTokenFinder added_, added_normalized_;
  std::vector<bool> is_special_;    // by id
  std::vector<std::string> bytes_;  // by id: what decode writes
  bool text_begins_after_bos_ = false;
};

BpeTokenizer::BpeTokenizer(BpeDefinition definition, std::vector<File> files)
    : definition_(std::move(definition)),
      files_(files.empty() ? detail::write_tokenizer_json(definition_) : std::move(files)),
      tables_(definition_),
      splitter_(definition_.splits, definition_.source) {
  const size_t size = definition_.tokens.size();
  std::vector<const AddedToken*> added(size);  // by id
  std::vector<AddedToken> as_written, normalized;
  is_special_.resize(size);
  for (const AddedToken& token : definition_.added) {
    added[token.id] = &token;
    is_special_[token.id] = token.special;
    (token.normalized ? normalized : as_written).push_back(token);
  }
  added_ = detail::AddedTokenFinder(std::move(as_written));
  added_normalized_ = detail::AddedTokenFinder(std::move(normalized));
  bytes_.reserve(size);
  for (size_t id = 0; id < size; ++id) bytes_.push_back(bytes_of(id, added[id]));
  text_begins_after_bos_ =
      definition_.bos && !(added[*definition_.bos] && added[*definition_.bos]->normalized);
}

std::string BpeTokenizer::bytes_of(int64_t id, const AddedToken* added) const {
  if (added && !added->normalized) return definition_.tokens[id];
  // An added token as in the normalised text: LLaMA's have a space before them.
  std::string token = added ? added->content : definition_.tokens[id];
  if (!added && definition_.alphabet == Alphabet::kBytes) return detail::bytes_of_token(token);
  if (!added && definition_.byte_fallback) {
    if (const auto byte = detail::byte_of_token(token)) {
      return std::string(1, static_cast<char>(*byte));
    }
  }
  detail::replace_all_inplace(token, definition_.space_mark, " ");
  return token;
}

std::vector<int64_t> BpeTokenizer::encode(std::string_view text, bool special) const {
  detail::check_utf8(text, "text");
  std::vector<int64_t> ids;
  detail::WordEncoder words(tables_, ids);
  detail::WordSplitter splitter = splitter_.clone();
  const detail::WordSplitter::Sink add_word = [&](std::string_view word) { words.add(word); };
  const auto add_token = [&](int64_t id) { ids.push_back(id); };
  bool at_start = false;
  const auto add_piece = [&](std::string_view piece) {
    std::string changed;
    if (!definition_.piece_normalizers.empty()) {
      piece = changed =
          detail::normalized(std::string(piece), definition_.piece_normalizers, at_start);
    }
    splitter.split(piece, add_word);
    at_start = false;
  };
  const auto add_text = [&](std::string_view piece) {
    at_start = piece.data() == text.data();
    std::string changed;
    if (!definition_.normalizers.empty()) {
      piece = changed = detail::normalized(std::string(piece), definition_.normalizers, at_start);
    }
    // A token right at the start means that no text starts there.
    at_start = at_start && ids.empty();
    added_normalized_.find(piece, special, add_piece, add_token);
  };
  added_.find(text, special, add_text, add_token);
  return ids;
}

std::string BpeTokenizer::decode(std::span<const int64_t> ids, bool special) const {
  std::string text;
  bool strip = definition_.strip_leading_space;
  for (const int64_t id : ids) {
    SLICE_ARGUMENT_CHECK(id >= 0 && id < vocabulary_size(), "token id {}: want 0 <= id < {}", id,
                         vocabulary_size());
    if (special || !is_special_[id]) {
      const std::string& bytes = bytes_[id];
      text.append(bytes, strip && bytes.starts_with(' ') ? 1 : 0);
      if (!bytes.empty()) strip = false;
    }
    if (id == definition_.bos && (text_begins_after_bos_ || !special)) {
      strip = definition_.strip_leading_space;
    }
  }
  return text;
}

void check_definition(const BpeDefinition& definition) {
  const auto size = static_cast<int64_t>(definition.tokens.size());
  const std::string& source = definition.source;
  SLICE_FORMAT_CHECK(size > 0 && size <= std::numeric_limits<int32_t>::max(),
                     "{}: {} tokens, want at least one and fewer than 2^31", source, size);
  detail::TextMap<int64_t> ids;
  ids.reserve(definition.tokens.size());
  for (int64_t id = 0; id < size; ++id) {
    const std::string& token = definition.tokens[id];
    SLICE_FORMAT_CHECK(!token.empty(), "{}: token {} is empty", source, id);
    detail::check_utf8(token, detail::formatted("{}: token {}", source, id));
    const auto [first, added] = ids.emplace(token, id);
    SLICE_FORMAT_CHECK(added, "{}: '{}' is both token {} and token {}", source, token,
                       first->second, id);
  }
  const auto check_id = [&](int64_t id, const char* what) {
    SLICE_FORMAT_CHECK(id >= 0 && id < size, "{}: {} is token {}, want 0 <= id < {}", source, what,
                       id, size);
  };
  for (const AddedToken& token : definition.added) {
    check_id(token.id, "an added token");
    detail::check_utf8(token.content, detail::formatted("{}: added token {}", source, token.id));
  }
  for (const Split& split : definition.splits) {
    detail::check_utf8(split.pattern, source + ": a pattern");
  }
  detail::check_utf8(definition.chat_template, source + ": chat template");
  for (const int64_t id : definition.eos) check_id(id, "the end-of-sequence token");
  if (definition.bos) check_id(*definition.bos, "the beginning-of-sequence token");
  if (definition.unknown) check_id(*definition.unknown, "the unknown token");
  if (definition.padding) check_id(*definition.padding, "the padding token");
  SLICE_FORMAT_CHECK(definition.bos || !definition.adds_bos,
                     "{}: a beginning-of-sequence token is to be added, but none is named", source);
  for (const MergeTable::Merge& merge : definition.merges) {
    check_id(merge.left, "half of a merge");
    check_id(merge.right, "half of a merge");
    check_id(merge.merged, "what a merge gives");
    for (const int32_t half : {merge.left, merge.right}) {
      SLICE_FORMAT_CHECK(
          !definition.byte_fallback || !detail::byte_of_token(definition.tokens[half]),
          "{}: the byte token '{}' takes part in a merge: not supported", source,
          definition.tokens[half]);
    }
  }
}

}  // namespace

std::shared_ptr<const Tokenizer> make_bpe_tokenizer(BpeDefinition definition,
                                                    std::vector<Tokenizer::File> files) {
  check_definition(definition);
  return std::make_shared<BpeTokenizer>(std::move(definition), std::move(files));
}

const BpeDefinition* bpe_definition(const Tokenizer& tokenizer) {
  const auto* bpe = dynamic_cast<const BpeTokenizer*>(&tokenizer);
  return bpe ? &bpe->definition() : nullptr;
}

}  // namespace slice
