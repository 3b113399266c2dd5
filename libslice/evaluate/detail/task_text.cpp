#include "libslice/evaluate/detail/task_text.h"

#include <unicode/locid.h>
#include <unicode/unistr.h>

#include "libslice/base/detail/unicode.h"

namespace slice::detail {
namespace {

std::string replaced(std::string_view text, std::string_view what, std::string_view by) {
  std::string all;
  for (size_t at = 0;;) {
    const size_t found = text.find(what, at);
    all += text.substr(at, found - at);
    if (found == std::string_view::npos) return all;
    all += by;
    at = found + what.size();
  }
}

/// Without "[…]" in one line, the shortest ones: re.sub(r"\[.*?\]", "", text).
std::string without_brackets(std::string_view text) {
  std::string all;
  for (size_t at = 0; at < text.size();) {
    const size_t open = text.find('[', at);
    all += text.substr(at, open - at);
    if (open == std::string_view::npos) break;
    const size_t close = text.find_first_of("]\n", open);
    if (close == std::string_view::npos || text[close] == '\n') {
      all += '[';
      at = open + 1;
    } else {
      at = close + 1;
    }
  }
  return all;
}

size_t first_length(std::string_view text) {
  size_t offset = 0;
  if (!text.empty()) next_character(text, offset);
  return offset;
}

icu::UnicodeString from_utf8(std::string_view text) {
  return icu::UnicodeString::fromUTF8(icu::StringPiece(text.data(), int32_t(text.size())));
}

/// In lower case: Python's rules are Unicode's, of no language.
std::string lower(std::string_view text) {
  std::string all;
  from_utf8(text).toLower(icu::Locale::getRoot()).toUTF8String(all);
  return all;
}

}  // namespace

int64_t characters(std::string_view text) {
  int64_t count = 0;
  for (size_t offset = 0; offset < text.size(); ++count) next_character(text, offset);
  return count;
}

size_t end_without_space(std::string_view text) {
  size_t end = 0;
  for (size_t offset = 0; offset < text.size();)
    if (!is_white_space(next_character(text, offset))) end = offset;
  return end;
}

std::string stripped(std::string_view text) {
  text = text.substr(0, end_without_space(text));
  size_t begin = 0;
  for (size_t offset = 0; offset < text.size(); begin = offset)
    if (!is_white_space(next_character(text, offset))) break;
  return std::string(text.substr(begin));
}

std::string capitalized(std::string_view text) {
  const size_t first = first_length(text);
  std::string all;
  icu::UnicodeString title = from_utf8(text.substr(0, first));
  title.toTitle(nullptr, icu::Locale::getRoot()).toUTF8String(all);
  return all + lower(text.substr(first));
}

std::string with_small_first_letter(std::string_view text) {
  const size_t first = first_length(text);
  return lower(text.substr(0, first)) + std::string(text.substr(first));
}

std::string without_last_character(std::string_view text) {
  size_t begin = 0;
  for (size_t offset = 0; offset < text.size();) {
    begin = offset;
    next_character(text, offset);
  }
  return std::string(text.substr(0, begin));
}

std::string without_wikihow_marks(std::string_view text) {
  return replaced(without_brackets(replaced(stripped(text), " [title]", ". ")), "  ", " ");
}

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    lines.emplace_back(line);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
  }
  return lines;
}

}  // namespace slice::detail
