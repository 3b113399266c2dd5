#include <cmath>
#include <cstring>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/file.h"
#include "libslice/text/detail/byte_alphabet.h"
#include "libslice/text/detail/score_merges.h"
#include "libslice/text/sources/tokenizer_sources.h"

namespace slice::detail {
namespace {

constexpr int64_t kUnknown = 0, kBos = 1, kEos = 2, kFirstByte = 3;
constexpr int32_t kLongestToken = 1 << 20;
constexpr size_t kMostBytes = size_t{256} << 20;  // other *.bin files are tried too

// Reads little-endian values from a file and refuses to read past its end.
class Cursor {
 public:
  Cursor(std::span<const std::byte> bytes, std::string name)
      : bytes_(bytes), name_(std::move(name)) {}

  template <typename T>
  T read() {
    T value;
    std::memcpy(&value, take(sizeof(T)), sizeof(T));
    return value;
  }
  std::string read_text(size_t size) { return {reinterpret_cast<const char*>(take(size)), size}; }
  size_t left() const { return bytes_.size(); }

 private:
  const std::byte* take(size_t size) {
    SLICE_FORMAT_CHECK(size <= bytes_.size(), "{}: truncated: want {} more bytes, {} are left",
                       name_, size, bytes_.size());
    const std::byte* data = bytes_.data();
    bytes_ = bytes_.subspan(size);
    return data;
  }

  std::span<const std::byte> bytes_;
  std::string name_;
};

bool is_ordinary(const std::string& token, int64_t id) {
  return id > kEos && !byte_of_token(token);
}

bool has_byte_tokens(const std::vector<std::string>& tokens) {
  if (tokens.size() < kFirstByte + 256) return false;
  for (int byte = 0; byte < 256; ++byte) {
    if (byte_of_token(tokens[kFirstByte + byte]) != byte) return false;
  }
  return true;
}

}  // namespace

BpeDefinition read_llama2c_tokenizer(const std::filesystem::path& path, int64_t vocabulary_size) {
  const std::string bytes = read_text_file(path, kMostBytes);
  BpeDefinition definition;
  definition.source = path.string();
  Cursor cursor(std::as_bytes(std::span(bytes)), definition.source);
  const auto longest = cursor.read<int32_t>();
  SLICE_FORMAT_CHECK(longest > 0 && longest <= kLongestToken,
                     "{}: longest token has {} bytes, want 1 to {}", definition.source, longest,
                     kLongestToken);
  SLICE_FORMAT_CHECK(vocabulary_size > kEos, "{}: {} tokens, want at least {}", definition.source,
                     vocabulary_size, kEos + 1);
  std::vector<float> scores;
  for (int64_t id = 0; id < vocabulary_size; ++id) {
    scores.push_back(cursor.read<float>());
    SLICE_FORMAT_CHECK(!std::isnan(scores.back()), "{}: the score of token {} is NaN",
                       definition.source, id);
    const auto length = cursor.read<int32_t>();
    SLICE_FORMAT_CHECK(length > 0 && length <= kLongestToken,
                       "{}: token {} has {} bytes, want 1 to {}", definition.source, id, length,
                       kLongestToken);
    definition.tokens.push_back(cursor.read_text(static_cast<size_t>(length)));
  }
  SLICE_FORMAT_CHECK(cursor.left() == 0, "{}: {} bytes after the last of {} tokens",
                     definition.source, cursor.left(), vocabulary_size);
  // llama2.c stores its two special tokens with line breaks around them; elsewhere they have none.
  definition.tokens[kBos] = "<s>";
  definition.tokens[kEos] = "</s>";
  for (const int64_t id : {kUnknown, kBos, kEos}) {
    AddedToken token;
    token.id = id;
    token.content = definition.tokens[id];
    token.special = true;
    definition.added.push_back(std::move(token));
  }
  definition.alphabet = BpeDefinition::Alphabet::kCharacters;
  definition.space_mark = " ";
  definition.normalizers.push_back({Normalizer::Kind::kPrepend, "", " "});
  std::vector<bool> ordinary;
  for (size_t id = 0; id < definition.tokens.size(); ++id) {
    ordinary.push_back(is_ordinary(definition.tokens[id], static_cast<int64_t>(id)));
  }
  definition.merges = merges_from_scores(definition.tokens, scores, ordinary);
  definition.byte_fallback = has_byte_tokens(definition.tokens);
  definition.strip_leading_space = true;
  definition.fuse_unknown = true;
  definition.unknown = kUnknown;
  definition.bos = kBos;
  definition.eos = {kEos};
  definition.adds_bos = true;
  return definition;
}

}  // namespace slice::detail
