#include <limits>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/unicode.h"
#include "libslice/text/bpe.h"
#include "libslice/text/detail/added_tokens.h"
#include "libslice/text/detail/byte_alphabet.h"
#include "libslice/text/detail/normalizer.h"
#include "libslice/text/detail/usable_definition.h"
#include "libslice/text/detail/word_encoder.h"
#include "libslice/text/detail/word_splitter.h"
#include "libslice/text/sources/tokenizer_json.h"

namespace slice {
namespace {

using Alphabet = BpeDefinition::Alphabet;

// A space for each end of a word, none for the last.
void end_words_inplace(std::string& text, const std::string& mark) {
  if (text.ends_with(mark)) text.resize(text.size() - mark.size());
  detail::replace_all_inplace(text, mark, " ");
}

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
  std::string without_marks(int64_t id) const;

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
  if (definition_.decode_verbatim || (added && !added->normalized)) return definition_.tokens[id];
  // An added token as in the normalised text: LLaMA's have a space before them.
  std::string token = added ? added->content : definition_.tokens[id];
  const bool spelled = definition_.alphabet == Alphabet::kBytes || definition_.decode_bytes;
  if (!added && spelled) return detail::bytes_of_token(token);
  if (!added && definition_.byte_fallback) {
    if (const auto byte = detail::byte_of_token(token)) {
      return std::string(1, static_cast<char>(*byte));
    }
  }
  detail::replace_all_inplace(token, definition_.space_mark, " ");
  return token;
}

std::string BpeTokenizer::without_marks(int64_t id) const {
  std::string token = definition_.tokens[id];
  detail::replace_all_inplace(token, definition_.space_mark, "");
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
    splitter.split(piece, at_start, add_word);
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
  bool strip = definition_.strip_leading_space, first = true;
  for (const int64_t id : ids) {
    SLICE_ARGUMENT_CHECK(id >= 0, "token id {}: want 0 <= id", id);
    if (id >= vocabulary_size()) continue;  // a row of the embedding that pads it has no text
    if (special || !is_special_[id]) {
      if (definition_.decode_verbatim && definition_.word_end.empty() && !first) text += ' ';
      if (definition_.strip_first_marks) {
        text += first ? without_marks(id) : bytes_[id];
      } else {
        const std::string& bytes = bytes_[id];
        text.append(bytes, strip && bytes.starts_with(' ') ? 1 : 0);
        if (!bytes.empty()) strip = false;
      }
      first = false;
    }
    if (id == definition_.bos && (text_begins_after_bos_ || !special)) {
      strip = definition_.strip_leading_space;
    }
  }
  if (!definition_.word_end.empty()) end_words_inplace(text, definition_.word_end);
  return text;
}

void check_definition(const BpeDefinition& definition) {
  const auto size = static_cast<int64_t>(definition.tokens.size());
  const std::string& source = definition.source;
  SLICE_FORMAT_CHECK(size > 0 && size <= std::numeric_limits<int32_t>::max(),
                     "{}: {} tokens, want at least one and fewer than 2^31", source, size);
  for (const Split& split : definition.splits) {
    detail::check_utf8(split.pattern, source + ": a pattern");
  }
  detail::check_utf8(definition.chat_template, source + ": chat template");
}

}  // namespace

std::shared_ptr<const Tokenizer> make_bpe_tokenizer(BpeDefinition definition,
                                                    std::vector<Tokenizer::File> files) {
  check_definition(definition);
  detail::drop_unusable(definition);
  return std::make_shared<BpeTokenizer>(std::move(definition), std::move(files));
}

const BpeDefinition* bpe_definition(const Tokenizer& tokenizer) {
  const auto* bpe = dynamic_cast<const BpeTokenizer*>(&tokenizer);
  return bpe ? &bpe->definition() : nullptr;
}

}  // namespace slice
