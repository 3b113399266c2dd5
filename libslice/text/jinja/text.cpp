#include "libslice/text/jinja/text.h"

#include <unicode/locid.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>

#include <algorithm>

#include "libslice/base/detail/unicode.h"

namespace slice::detail::jinja {
namespace {

bool is_continuation(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; }

// Characters to be stripped.
class Stripped {
 public:
  explicit Stripped(std::optional<std::string_view> set) : spaces_(!set) {
    if (!set) return;
    for (size_t i = 0; i < set->size();) characters_.push_back(next_character(*set, i));
    std::ranges::sort(characters_);
  }
  bool contains(char32_t character) const {
    return spaces_ ? is_space(character) : std::ranges::binary_search(characters_, character);
  }

 private:
  bool spaces_;
  std::u32string characters_;
};

icu::UnicodeString to_utf16(std::string_view text) {
  return icu::UnicodeString::fromUTF8({text.data(), static_cast<int32_t>(text.size())});
}

std::string to_utf8_text(const icu::UnicodeString& text) {
  std::string bytes;
  return text.toUTF8String(bytes);
}

}  // namespace

bool is_space(char32_t character) {
  return is_white_space(character) || (character >= 0x1C && character <= 0x1F);
}

std::vector<std::string_view> characters(std::string_view text) {
  std::vector<std::string_view> pieces;
  for (size_t i = 0; i < text.size();) {
    const size_t begin = i;
    next_character(text, i);
    pieces.push_back(text.substr(begin, i - begin));
  }
  return pieces;
}

int64_t character_count(std::string_view text) {
  return static_cast<int64_t>(text.size()) - std::ranges::count_if(text, is_continuation);
}

std::string_view strip_left(std::string_view text, std::optional<std::string_view> set) {
  const Stripped stripped(set);
  size_t begin = 0;
  for (size_t next = 0; next < text.size(); begin = next) {
    if (!stripped.contains(next_character(text, next))) break;
  }
  return text.substr(begin);
}

std::string_view strip_right(std::string_view text, std::optional<std::string_view> set) {
  const Stripped stripped(set);
  while (!text.empty()) {
    size_t last = text.size() - 1;
    while (last > 0 && is_continuation(text[last])) --last;
    size_t offset = last;
    if (!stripped.contains(next_character(text, offset))) break;
    text = text.substr(0, last);
  }
  return text;
}

std::vector<std::string_view> lines(std::string_view text, bool keep_breaks) {
  const auto is_break = [](char32_t c) {
    return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 ||
           c == 0x2029;
  };
  std::vector<std::string_view> pieces;
  size_t begin = 0;
  for (size_t next = 0; next < text.size();) {
    const size_t end = next;
    if (!is_break(next_character(text, next))) continue;
    if (text.compare(end, 2, "\r\n") == 0) ++next;
    pieces.push_back(text.substr(begin, (keep_breaks ? next : end) - begin));
    begin = next;
  }
  if (begin < text.size()) pieces.push_back(text.substr(begin));
  return pieces;
}

std::vector<std::string_view> split_at_spaces(std::string_view text, int64_t limit) {
  std::vector<std::string_view> pieces;
  for (text = strip_left(text); !text.empty(); text = strip_left(text)) {
    size_t end = 0;
    if (limit >= 0 && std::ssize(pieces) == limit) {
      pieces.push_back(text);
      break;
    }
    for (size_t next = 0; next < text.size(); end = next) {
      if (is_space(next_character(text, next))) break;
    }
    pieces.push_back(text.substr(0, end));
    text = text.substr(end);
  }
  return pieces;
}

std::vector<std::string_view> split(std::string_view text, std::string_view separator,
                                    int64_t limit) {
  std::vector<std::string_view> pieces;
  while (limit < 0 || std::ssize(pieces) < limit) {
    const size_t found = text.find(separator);
    if (found == std::string_view::npos) break;
    pieces.push_back(text.substr(0, found));
    text = text.substr(found + separator.size());
  }
  pieces.push_back(text);
  return pieces;
}

std::vector<std::string_view> split_last_at_spaces(std::string_view text, int64_t limit) {
  std::vector<std::string_view> pieces;
  for (text = strip_right(text); !text.empty(); text = strip_right(text)) {
    if (limit >= 0 && std::ssize(pieces) == limit) {
      pieces.push_back(text);
      break;
    }
    size_t begin = 0;
    for (size_t last = text.size(); last > 0;) {
      size_t at = last - 1;
      while (at > 0 && is_continuation(text[at])) --at;
      size_t offset = at;
      if (is_space(next_character(text, offset))) {
        begin = last;
        break;
      }
      last = at;
    }
    pieces.push_back(text.substr(begin));
    text = text.substr(0, begin);
  }
  std::ranges::reverse(pieces);
  return pieces;
}

std::vector<std::string_view> split_last(std::string_view text, std::string_view separator,
                                         int64_t limit) {
  std::vector<std::string_view> pieces;
  while (limit < 0 || std::ssize(pieces) < limit) {
    const size_t found = text.rfind(separator);
    if (found == std::string_view::npos) break;
    pieces.push_back(text.substr(found + separator.size()));
    text = text.substr(0, found);
  }
  pieces.push_back(text);
  std::ranges::reverse(pieces);
  return pieces;
}

std::string replace(std::string_view text, std::string_view from, std::string_view to,
                    int64_t limit) {
  std::string result;
  if (from.empty()) {
    size_t next = 0;
    for (; limit != 0; --limit) {
      result += to;
      const size_t begin = next;
      if (begin == text.size()) break;
      next_character(text, next);
      result += text.substr(begin, next - begin);
    }
    return result.append(text.substr(next));
  }
  bool first = true;
  for (const std::string_view piece : split(text, from, limit)) {
    if (!first) result += to;
    result += piece;
    first = false;
  }
  return result;
}

std::string upper(std::string_view text) {
  return to_utf8_text(to_utf16(text).toUpper(icu::Locale::getRoot()));
}

std::string lower(std::string_view text) {
  return to_utf8_text(to_utf16(text).toLower(icu::Locale::getRoot()));
}

std::string capitalize(std::string_view text) {
  if (text.empty()) return {};
  size_t first = 0;
  const char32_t character = next_character(text, first);
  const auto title = static_cast<char32_t>(u_totitle(static_cast<UChar32>(character)));
  return to_utf8(title) + lower(text.substr(first));
}

std::string title(std::string_view text) {
  std::string result;
  bool in_word = false;
  for (size_t i = 0; i < text.size();) {
    const size_t begin = i;
    const char32_t character = next_character(text, i);
    const auto code = static_cast<UChar32>(character);
    result += in_word ? lower(text.substr(begin, i - begin))
                      : to_utf8(static_cast<char32_t>(u_totitle(code)));
    in_word = u_hasBinaryProperty(code, UCHAR_CASED) != 0;
  }
  return result;
}

std::string swap_case(std::string_view text) {
  std::string result;
  for (size_t i = 0; i < text.size();) {
    const size_t begin = i;
    const auto code = static_cast<UChar32>(next_character(text, i));
    const std::string_view piece = text.substr(begin, i - begin);
    result += u_isUUppercase(code)   ? lower(piece)
              : u_isULowercase(code) ? upper(piece)
                                     : std::string(piece);
  }
  return result;
}

std::string fold_case(std::string_view text) { return to_utf8_text(to_utf16(text).foldCase()); }

bool is_printable(char32_t character) {
  if (character == ' ') return true;
  constexpr uint32_t kOthers = U_GC_C_MASK | U_GC_Z_MASK;
  return (U_GET_GC_MASK(static_cast<UChar32>(character)) & kOthers) == 0;
}

}  // namespace slice::detail::jinja
