#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "libslice/text/bpe.h"

namespace slice::detail {

/// A SentencePiece vocabulary as in `tokenizer.model` and GGUF files; vectors are indexed by id.
struct Pieces {
  /// (SentencePiece, sentencepiece_model.proto; GGUF specification, tokenizer.ggml.token_type)
  enum Type : int64_t {
    kNormal = 1,
    kUnknown = 2,
    kControl = 3,
    kUserDefined = 4,
    kUnused = 5,
    kByte = 6
  };

  std::vector<std::string> texts;
  std::vector<float> scores;
  std::vector<int64_t> types;
};

/// Fills the definition, whose source is set, from these pieces, except for normalizers, bos and
/// eos: two neighbours that form a piece are joined, the highest score first; a character that is
/// not a piece falls back to its bytes where these are pieces, else to the unknown piece. Control
/// pieces become special tokens. A piece with a character that is not a piece is never found in a
/// text, which a warning says.
/// @throws FormatError  a score that is NaN, an unknown type, a byte piece not `<0xNN>`, or a second
///                      unknown piece
void define_pieces(Pieces pieces, BpeDefinition& definition);

/// The piece's text with spaces for U+2581.
std::string unescaped_piece(std::string piece);

}  // namespace slice::detail
