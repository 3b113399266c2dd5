#include "libslice/text/detail/added_tokens.h"

#include <algorithm>

#include "libslice/base/detail/unicode.h"

namespace slice::detail {
namespace {

constexpr size_t kPart = 1 << 16;  // places whose states are held at a time

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
  std::erase_if(tokens_, [](const AddedToken& token) { return token.content.empty(); });
  std::ranges::stable_sort(tokens_, {}, &AddedToken::content);
  std::vector<std::string_view> words;
  for (const AddedToken& token : tokens_) {
    words.push_back(token.content);
    longest_ = std::max(longest_, token.content.size());
  }
  beginnings_ = WordBeginnings(words);
}

void AddedTokenFinder::read_states(std::string_view text, size_t begin,
                                   std::vector<WordBeginnings::State>& states) const {
  // What begins in the part ends in `longest_` more bytes, so that states there need no other.
  const size_t end = std::min(text.size(), begin + std::max(kPart, longest_));
  states.resize(end - begin);
  WordBeginnings::State state = WordBeginnings::kStart;
  for (size_t i = std::min(text.size(), end + longest_); i-- > begin;) {
    state = beginnings_.before(static_cast<uint8_t>(text[i]), state);
    if (i < end) states[i - begin] = state;
  }
}

const AddedToken* AddedTokenFinder::longest_at(std::string_view text, size_t offset,
                                               WordBeginnings::State state, bool special) const {
  for (state = beginnings_.longest(state); state != WordBeginnings::kNone;
       state = beginnings_.shorter(state)) {
    // Of one content there may be a special token and another.
    const auto first = tokens_.begin() + beginnings_.word(state);
    for (auto token = first; token != tokens_.end() && token->content == first->content; ++token) {
      if ((special || !token->special) && stands_alone(text, offset, *token)) return &*token;
    }
  }
  return nullptr;
}

void AddedTokenFinder::find(std::string_view text, bool special,
                            const std::function<void(std::string_view)>& on_text,
                            const std::function<void(int64_t)>& on_token) const {
  size_t last = 0, offset = 0, part = 0;
  std::vector<WordBeginnings::State> states;  // of [part, part + states.size())
  while (!tokens_.empty() && offset < text.size()) {
    if (offset >= part + states.size()) read_states(text, part = offset, states);
    const AddedToken* token = longest_at(text, offset, states[offset - part], special);
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
