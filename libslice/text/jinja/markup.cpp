#include "libslice/text/jinja/markup.h"

#include <unicode/utf8.h>

#include <algorithm>
#include <charconv>
#include <map>

#include "libslice/base/detail/formatted.h"
#include "libslice/base/detail/unicode.h"
#include "libslice/text/jinja/print.h"
#include "libslice/text/jinja/text.h"

namespace slice::detail::jinja {
namespace {

// What is between & and ; as a character.
std::string character_of(std::string_view entity) {
  static const std::map<std::string_view, const char*> names = {
      {"amp", "&"}, {"lt", "<"}, {"gt", ">"}, {"quot", "\""}, {"apos", "'"}, {"nbsp", "\u00a0"}};
  if (const auto found = names.find(entity); found != names.end()) return found->second;
  const bool is_hex = entity.starts_with("#x") || entity.starts_with("#X");
  uint32_t code = 0;
  if (entity.starts_with('#')) {
    const std::string_view digits = entity.substr(is_hex ? 2 : 1);
    const auto result =
        std::from_chars(digits.data(), digits.data() + digits.size(), code, is_hex ? 16 : 10);
    if (result.ptr != digits.data() + digits.size()) code = 0;
  }
  if (code == 0 || code > 0x10FFFF || U_IS_SURROGATE(code)) {
    throw Failure(detail::formatted("striptags(): '&{};' is not supported", entity));
  }
  return to_utf8(static_cast<char32_t>(code));
}

std::string without_entities(std::string_view text) {
  std::string result;
  while (true) {
    const size_t begin = text.find('&');
    result += text.substr(0, begin);
    if (begin == std::string_view::npos) return result;
    text.remove_prefix(begin);
    const size_t end = text.find_first_of("; &", 1);
    if (end == std::string_view::npos || text[end] != ';' || end == 1) {
      result += '&';
      text.remove_prefix(1);
    } else {
      result += character_of(text.substr(1, end - 1));
      text.remove_prefix(end + 1);
    }
  }
}

}  // namespace

std::string escaped_text(const std::string& text, Meter& meter) {
  constexpr std::string_view kMarks = "&<>'\"";
  constexpr const char* kEntities[] = {"&amp;", "&lt;", "&gt;", "&#39;", "&#34;"};
  meter.charge(text.size() * 5);
  std::string result;
  for (const char c : text) {
    const size_t mark = kMarks.find(c);
    mark == std::string_view::npos ? result += c : result += kEntities[mark];
  }
  return result;
}

std::string escaped(const Value& value, Meter& meter) {
  if (value.is_markup()) return *value.text();
  return escaped_text(to_text(value, meter), meter);
}

std::string without_tags(const std::string& text, Meter& meter) {
  meter.charge(text.size() * 4);
  std::string kept;
  size_t position = 0;
  while (true) {
    const size_t begin = text.find('<', position);
    if (begin == std::string::npos) break;
    const bool is_comment = text.compare(begin, 4, "<!--") == 0;
    const size_t end = is_comment ? text.find("-->", begin + 4) : text.find('>', begin);
    if (end == std::string::npos) break;
    kept += text.substr(position, begin - position);
    position = end + (is_comment ? 3 : 1);
  }
  kept += text.substr(position);
  std::string words;
  for (const std::string_view word : split_at_spaces(kept, -1)) {
    if (!words.empty()) words += ' ';
    words += word;
  }
  return without_entities(words);
}

Value as_markup(const Value& value, Meter& meter) {
  if (value.text()) return new_markup(*value.text(), meter);
  if (!value.list() || value.list()->type > Sequence::kGroup) return value;
  std::vector<Value> items;
  for (const Value& item : value.list()->items) items.push_back(as_markup(item, meter));
  return new_list(std::move(items), meter, value.list()->type);
}

}  // namespace slice::detail::jinja
