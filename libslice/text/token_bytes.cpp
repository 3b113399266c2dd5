#include "libslice/text/token_bytes.h"

#include <algorithm>
#include <array>
#include <optional>

#include "libslice/text/detail/json_lexemes.h"

namespace slice {
namespace {

using Token = TokenBytes::Token;

constexpr size_t kNone = SIZE_MAX;

/// Its characters if they may stand in a JSON string as they are.
std::optional<int64_t> plain_characters(const std::string& bytes) {
  using detail::InString;
  InString state = InString::kContent;
  int64_t characters = 0;
  for (const char c : bytes) {
    if (state == InString::kContent) ++characters;
    state = detail::next_in_string(state, static_cast<uint8_t>(c));
    if (state == InString::kEscape || state == InString::kClosed) return std::nullopt;
  }
  return state == InString::kContent ? std::optional(characters) : std::nullopt;
}

void note_common(std::vector<Token>& tokens) {
  for (size_t i = 1; i < tokens.size(); ++i) {
    const std::string &before = tokens[i - 1].bytes, &bytes = tokens[i].bytes;
    tokens[i].common =
        static_cast<size_t>(std::ranges::mismatch(before, bytes).in2 - bytes.begin());
  }
}

}  // namespace

TokenBytes::TokenBytes(const Tokenizer& tokenizer) {
  // After another token, since a text may leave out the space of its first.
  std::vector<int64_t> ids = tokenizer.encode("a");
  ids.resize(std::min<size_t>(ids.size(), 1));
  const size_t before = tokenizer.decode(ids).size();
  ids.push_back(0);
  const int64_t n = tokenizer.vocabulary_size();
  for (int64_t id = 0; id < n; ++id) {
    ids.back() = id;
    std::string text = tokenizer.decode(ids);
    if (text.size() > before) sorted_.push_back({id, text.substr(before), 0});
  }
  std::ranges::sort(sorted_, {}, &Token::bytes);
  places_.assign(static_cast<size_t>(n), kNone);
  for (size_t i = 0; i < sorted_.size(); ++i) {
    places_[static_cast<size_t>(sorted_[i].id)] = i;
    if (const auto characters = plain_characters(sorted_[i].bytes))
      plain_.push_back({sorted_[i].id, *characters});
    else
      others_.push_back(sorted_[i]);
  }
  note_common(sorted_);
  note_common(others_);
}

const std::string& TokenBytes::bytes(int64_t id) const {
  static const std::string kEmpty;
  if (id < 0 || id >= static_cast<int64_t>(places_.size())) return kEmpty;
  const size_t place = places_[static_cast<size_t>(id)];
  return place == kNone ? kEmpty : sorted_[place].bytes;
}

}  // namespace slice
