#include "libslice/text/jinja/literals.h"

#include <unicode/uchar.h>
#include <unicode/utf8.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <climits>

#include "libslice/base/detail/formatted.h"
#include "libslice/base/detail/unicode.h"
#include "libslice/text/jinja/meter.h"

namespace slice::detail::jinja {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// 0x…, 0o… or 0b…; of length 0 when it is none of these.
NumberLiteral read_prefixed(std::string_view text) {
  const char mark = text.size() > 2 && text[0] == '0' ? static_cast<char>(text[1] | 0x20) : '\0';
  const int base = mark == 'x' ? 16 : mark == 'o' ? 8 : mark == 'b' ? 2 : 0;
  if (base == 0) return {};
  size_t end = 2;
  while (end < text.size() &&
         (std::isxdigit(static_cast<unsigned char>(text[end])) != 0 || text[end] == '_')) {
    ++end;
  }
  std::string digits(text.substr(2, end - 2));
  std::erase(digits, '_');
  int64_t number = 0;
  const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), number, base);
  if (result.ec != std::errc() || result.ptr != digits.data() + digits.size()) {
    throw Failure(detail::formatted("'{}' is not a number of 64 bits", text.substr(0, end)));
  }
  return {end, std::to_string(number), false};
}

std::string code_point(std::string_view digits, size_t wanted, int base) {
  unsigned long code = ULONG_MAX;
  const bool only_digits =
      std::ranges::all_of(digits, [](unsigned char c) { return std::isxdigit(c) != 0; });
  if (only_digits && digits.size() == wanted) code = std::stoul(std::string(digits), nullptr, base);
  if (code > 0x10FFFF || U_IS_SURROGATE(code)) {
    throw Failure(detail::formatted("'{}' after a backslash is not a character", digits));
  }
  return to_utf8(static_cast<char32_t>(code));
}

// {NAME} after \N.
std::string named_character(std::string_view text, size_t& length) {
  const size_t end = text.find('}');
  const std::string name(text.starts_with('{') && end != std::string_view::npos
                             ? text.substr(1, end - 1)
                             : std::string_view());
  UErrorCode error = U_ZERO_ERROR;
  const UChar32 code = u_charFromName(U_UNICODE_CHAR_NAME, name.c_str(), &error);
  if (U_FAILURE(error)) {
    throw Failure(detail::formatted("'\\N{{{}}}' is not the name of a character", name));
  }
  length = end + 1;
  return to_utf8(static_cast<char32_t>(code));
}

}  // namespace

NumberLiteral read_number_literal(std::string_view text) {
  if (NumberLiteral prefixed = read_prefixed(text); prefixed.length > 0) return prefixed;
  const auto digits_end = [&](size_t i) {
    while (i < text.size() && (is_digit(text[i]) || text[i] == '_')) ++i;
    return i;
  };
  const auto digit_at = [&](size_t i) { return i < text.size() && is_digit(text[i]); };
  size_t end = digits_end(0);
  bool is_float = false;
  if (end < text.size() && text[end] == '.' && digit_at(end + 1)) {
    is_float = true;
    end = digits_end(end + 1);
  }
  if (end < text.size() && (text[end] == 'e' || text[end] == 'E')) {
    const bool has_sign = end + 1 < text.size() && (text[end + 1] == '+' || text[end + 1] == '-');
    if (digit_at(end + 1 + has_sign)) {
      is_float = true;
      end = digits_end(end + 1 + has_sign);
    }
  }
  std::string number(text.substr(0, end));
  std::erase(number, '_');
  return {end, std::move(number), is_float};
}

std::string unescaped(std::string_view text) {
  constexpr std::string_view kLetters = "abfnrtv\\'\"", kMeanings = "\a\b\f\n\r\t\v\\'\"";
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\') {
      result += text[i];
      continue;
    }
    const char letter = text[++i];
    const size_t found = kLetters.find(letter);
    if (found != std::string_view::npos) {
      result += kMeanings[found];
    } else if (letter == 'x' || letter == 'u' || letter == 'U') {
      const size_t digits = letter == 'x' ? 2 : letter == 'u' ? 4 : 8;
      result += code_point(text.substr(i + 1, digits), digits, 16);
      i += digits;
    } else if (letter >= '0' && letter <= '7') {
      size_t digits = 1;
      while (digits < 3 && i + digits < text.size() && text[i + digits] >= '0' &&
             text[i + digits] <= '7') {
        ++digits;
      }
      result += code_point(text.substr(i, digits), digits, 8);
      i += digits - 1;
    } else if (letter == 'N') {
      size_t length = 0;
      result += named_character(text.substr(i + 1), length);
      i += length;
    } else if (letter != '\n') {
      result += {'\\', letter};
    }
  }
  return result;
}

}  // namespace slice::detail::jinja
