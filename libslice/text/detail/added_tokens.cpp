#include "libslice/text/detail/added_tokens.h"

#include <algorithm>

#include "libslice/base/detail/unicode.h"

namespace slice::detail {
namespace {

// The length of `text` without white space at its end.
size_t trim_end(std::string_view text) {
  while (!text.empty()) {
    size_t begin = text.size() - 1;
    while (begin > 0 && (text[begin] & 0xC0) == 0x80) --begin;
    size_t end = begin;
    if (!is_white_space(next_character(text, end))) break;
    text = text.substr(0, begin);
  }
  return text.size();
}

size_t skip_white_space(std::string_view text, size_t offset) {
  while (offset < text.size()) {
    size_t next = offset;
    if (!is_white_space(next_character(text, next))) break;
    offset = next;
  }
  return offset;
}

// False where a token that is to be a word by itself has a word character beside it.
bool stands_alone(std::string_view text, size_t offset, const AddedToken& token) {
  if (!token.single_word) return true;
  size_t before = offset, after = offset + token.content.size();
  while (before > 0 && (text[--before] & 0xC0) == 0x80) {
  }
  return (offset == 0 || !is_word_character(next_character(text, before))) &&
         (after == text.size() || !is_word_character(next_character(text, after)));
}

}  // namespace

AddedTokenFinder::AddedTokenFinder(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
  // std::string orders its characters as unsigned bytes.
  std::ranges::stable_sort(tokens_, {}, &AddedToken::content);
  for (const AddedToken& token : tokens_) {
    if (!token.content.empty()) ++first_byte_[static_cast<uint8_t>(token.content[0]) + 1];
  }
  std::erase_if(tokens_, [](const AddedToken& token) { return token.content.empty(); });
  for (size_t b = 0; b < 256; ++b) first_byte_[b + 1] += first_byte_[b];
}

const AddedToken* AddedTokenFinder::longest_at(std::string_view text, size_t offset,
                                               bool special) const {
  const auto first = static_cast<uint8_t>(text[offset]);
  auto begin = tokens_.begin() + first_byte_[first];
  auto end = tokens_.begin() + first_byte_[first + 1];
  const AddedToken* longest = nullptr;
  // [begin, end) are the tokens that agree with the text in their first `length` bytes.
  for (size_t length = 1; begin != end; ++length) {
    // A shorter text sorts first, so a token of exactly this length is at the beginning.
    for (; begin != end && begin->content.size() == length; ++begin) {
      if ((special || !begin->special) && stands_alone(text, offset, *begin) &&
          (longest == nullptr || longest->content.size() < length)) {
        longest = &*begin;
      }
    }
    if (offset + length == text.size()) break;
    const auto byte_at = [&](const AddedToken& t) {
      return static_cast<uint8_t>(t.content[length]);
    };
    const auto byte = static_cast<uint8_t>(text[offset + length]);
    begin = std::ranges::lower_bound(begin, end, byte, {}, byte_at);
    end = std::ranges::upper_bound(begin, end, byte, {}, byte_at);
  }
  return longest;
}

void AddedTokenFinder::find(std::string_view text, bool special,
                            const std::function<void(std::string_view)>& on_text,
                            const std::function<void(int64_t)>& on_token) const {
  size_t last = 0, offset = 0;
  while (!tokens_.empty() && offset < text.size()) {
    const AddedToken* token = longest_at(text, offset, special);
    if (!token) {
      ++offset;
      continue;
    }
    size_t before = offset - last;
    if (token->left_strip) before = trim_end(text.substr(last, before));
    if (before > 0) on_text(text.substr(last, before));
    on_token(token->id);
    offset += token->content.size();
    if (token->right_strip) offset = skip_white_space(text, offset);
    last = offset;
  }
  if (last < text.size()) on_text(text.substr(last));
}

}  // namespace slice::detail
