#include "libslice/text/detail/pieces.h"

#include <cmath>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/unicode.h"
#include "libslice/base/detail/warn.h"
#include "libslice/text/detail/byte_alphabet.h"
#include "libslice/text/detail/normalizer.h"
#include "libslice/text/detail/score_merges.h"
#include "libslice/text/detail/usable_definition.h"
#include "libslice/text/detail/word_encoder.h"
#include "libslice/text/sources/tokenizer_json.h"

namespace slice::detail {
namespace {

// Merges start from single characters, so every character of a piece has to be a piece too, which
// holds for the vocabularies that SentencePiece trains, not for all that were joined of several.
void warn_of_missing_characters(const Pieces& pieces, const std::vector<bool>& normal,
                                const std::string& source) {
  TextMap<bool> characters;
  for (size_t id = 0; id < normal.size(); ++id) {
    if (normal[id]) characters.emplace(pieces.texts[id], true);
  }
  std::vector<std::string> unreachable;
  for (size_t id = 0; id < normal.size(); ++id) {
    const std::string& text = pieces.texts[id];
    if (!normal[id]) continue;
    for (size_t offset = 0; offset < text.size();) {
      const size_t begin = offset;
      next_character(text, offset);
      const std::string character = text.substr(begin, offset - begin);
      if (characters.contains(character)) continue;
      unreachable.push_back(formatted("{} '{}'", id, text));
      break;
    }
  }
  if (!unreachable.empty()) {
    warn("{}: pieces of characters that are no pieces are never found in a text: {}", source,
         shortened(unreachable));
  }
}

void check_piece(const Pieces& pieces, size_t id, const std::string& source) {
  const std::string& text = pieces.texts[id];
  const int64_t type = pieces.types[id];
  SLICE_FORMAT_CHECK(!std::isnan(pieces.scores[id]), "{}: the score of piece {} '{}' is NaN",
                     source, id, text);
  SLICE_FORMAT_CHECK(type >= Pieces::kNormal && type <= Pieces::kByte,
                     "{}: piece {} '{}' has type {}, want 1 to 6", source, id, text, type);
  SLICE_FORMAT_CHECK(type != Pieces::kByte || byte_of_token(text),
                     "{}: piece {} '{}' is of type byte, want <0xNN>", source, id, text);
}

}  // namespace

void define_pieces(Pieces pieces, BpeDefinition& definition) {
  const std::string& source = definition.source;
  std::vector<bool> normal(pieces.texts.size());
  int bytes = 0;
  for (size_t id = 0; id < pieces.texts.size(); ++id) {
    check_piece(pieces, id, source);
    const int64_t type = pieces.types[id];
    normal[id] = type == Pieces::kNormal && is_usable(pieces.texts[id]);
    bytes += type == Pieces::kByte;
    if (type == Pieces::kUnknown) {
      SLICE_FORMAT_CHECK(!definition.unknown, "{}: pieces {} and {} are both the unknown piece",
                         source, *definition.unknown, id);
      definition.unknown = static_cast<int64_t>(id);
    }
    if (type == Pieces::kUnknown || type == Pieces::kControl || type == Pieces::kUserDefined) {
      AddedToken token;
      token.id = static_cast<int64_t>(id);
      token.content = pieces.texts[id];
      token.special = type != Pieces::kUserDefined;
      definition.added.push_back(std::move(token));
    }
  }
  warn_of_missing_characters(pieces, normal, source);
  definition.alphabet = BpeDefinition::Alphabet::kCharacters;
  definition.space_mark = kSpaceMark;
  definition.merges = merges_from_scores(pieces.texts, pieces.scores, normal);
  definition.byte_fallback = bytes > 0;
  definition.fuse_unknown = true;
  definition.tokens = std::move(pieces.texts);
}

std::string unescaped_piece(std::string piece) {
  replace_all_inplace(piece, kSpaceMark, " ");
  return piece;
}

}  // namespace slice::detail
