#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "libslice/text/sources/protobuf.h"
#include "tests/support/gguf_writer.h"

namespace slice::tests {

/// The pieces of a SentencePiece model, and what it says about itself, as a file's bytes.
struct PiecesFile {
  std::vector<std::string> texts;
  std::vector<float> scores;
  std::vector<int32_t> types;
  std::string trainer, normalizer;  ///< bytes of the two messages

  // Protocol-buffer fields, put together value by value; what a test wants to be wrong, it sets.
  static std::string varint(uint64_t value) {
    std::string bytes;
    for (; value >= 0x80; value >>= 7) bytes += static_cast<char>(value | 0x80);
    return bytes + static_cast<char>(value);
  }
  static std::string number(uint64_t field, uint64_t value) {
    return varint(field << 3) + varint(value);
  }
  static std::string text(uint64_t field, const std::string& value) {
    return varint(field << 3 | 2) + varint(value.size()) + value;
  }
  static std::string real(uint64_t field, float value) {
    return varint(field << 3 | 5) + GgufWriter::packed(value);
  }

  void add(const std::string& piece, float score, int32_t type = 1) {
    texts.push_back(piece);
    scores.push_back(score);
    types.push_back(type);
  }
  std::string bytes() const {
    std::string file;
    for (size_t id = 0; id < texts.size(); ++id) {
      file += text(1, text(1, texts[id]) + real(2, scores[id]) + number(3, types[id]));
    }
    return file + text(2, trainer) + text(3, normalizer);
  }
};

inline PiecesFile read_pieces(const std::string& bytes) {
  PiecesFile pieces;
  detail::ProtobufReader model(bytes, "model");
  while (model.next()) {
    if (model.field() != 1) continue;
    detail::ProtobufReader piece(model.text("piece"), "piece");
    pieces.add("", 0);
    while (piece.next()) {
      if (piece.field() == 1) pieces.texts.back() = piece.text("piece");
      if (piece.field() == 2) pieces.scores.back() = piece.real("score");
      if (piece.field() == 3) pieces.types.back() = static_cast<int32_t>(piece.integer("type"));
    }
  }
  return pieces;
}

}  // namespace slice::tests
