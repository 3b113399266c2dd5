#include "libslice/text/jinja/format_spec.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "libslice/base/detail/formatted.h"
#include "libslice/base/detail/unicode.h"
#include "libslice/text/jinja/print.h"
#include "libslice/text/jinja/text.h"

namespace slice::detail::jinja {
namespace {

bool is_align(char c) { return std::string_view("<>^=").find(c) != std::string_view::npos; }

std::optional<int64_t> take_number(std::string_view& text) {
  int64_t number = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text.empty() || text.front() == '-' || result.ptr == text.data()) return std::nullopt;
  if (result.ec != std::errc()) throw Failure("a width or precision past 64 bits");
  text.remove_prefix(static_cast<size_t>(result.ptr - text.data()));
  return number;
}

bool take(std::string_view& text, char wanted) {
  const bool here = text.starts_with(wanted);
  if (here) text.remove_prefix(1);
  return here;
}

std::string digits_of(uint64_t number, int base, bool upper) {
  char buffer[64];
  const auto end = std::to_chars(buffer, buffer + sizeof(buffer), number, base).ptr;
  std::string digits(buffer, end);
  if (upper)
    std::ranges::transform(digits, digits.begin(), [](char c) {
      return c >= 'a' && c <= 'f' ? static_cast<char>(c - 'a' + 'A') : c;
    });
  return digits;
}

// Separators between groups of digits at the beginning of a number.
std::string grouped(const std::string& number, char separator, size_t group) {
  if (separator == '\0') return number;
  const size_t whole = std::min(number.find_first_not_of("0123456789abcdefABCDEF"), number.size());
  std::string result;
  for (size_t i = 0; i < whole; ++i) {
    if (i > 0 && (whole - i) % group == 0) result += separator;
    result += number[i];
  }
  return result + number.substr(whole);
}

std::string real_digits(double number, std::chars_format format, int64_t precision) {
  std::string text(static_cast<size_t>(precision) + 400, '\0');
  const auto end = std::to_chars(text.data(), text.data() + text.size(), number, format,
                                 static_cast<int>(precision));
  text.resize(static_cast<size_t>(end.ptr - text.data()));
  return text;
}

// A number without a type of its own: at least one digit after the point.
std::string general_digits(double number, int64_t precision) {
  const int64_t digits = std::max<int64_t>(precision, 1);
  const std::string exponent = real_digits(number, std::chars_format::scientific, digits - 1);
  const size_t mark = exponent.find('e');
  if (mark == std::string::npos) return exponent;
  const int power = std::stoi(exponent.substr(mark + 1));
  if (power >= -4 && power + 2 <= digits) {
    std::string text = real_digits(number, std::chars_format::general, digits);
    return text.find('.') == std::string::npos ? text + ".0" : text;
  }
  std::string mantissa = exponent.substr(0, mark);
  if (mantissa.find('.') != std::string::npos) {
    mantissa.erase(mantissa.find_last_not_of('0') + 1);
    if (mantissa.ends_with('.')) mantissa.pop_back();
  }
  return mantissa + exponent.substr(mark);
}

// Without a sign.
std::string real_text(double number, const FormatSpec& spec, Meter& meter) {
  const int64_t precision = spec.precision.value_or(6);
  meter.charge(static_cast<uint64_t>(precision) + 400);
  const char type =
      spec.type >= 'A' && spec.type <= 'Z' ? static_cast<char>(spec.type - 'A' + 'a') : spec.type;
  std::string text;
  if (type == '\0') {
    text = spec.precision ? general_digits(number, *spec.precision) : float_text(number);
  } else if (type == '%') {
    text = real_digits(number * 100, std::chars_format::fixed, precision) + "%";
  } else if (type == 'f') {
    text = real_digits(number, std::chars_format::fixed, precision);
  } else if (type == 'e') {
    text = real_digits(number, std::chars_format::scientific, precision);
  } else {
    text = real_digits(number, std::chars_format::general, std::max<int64_t>(precision, 1));
  }
  if (type != spec.type) {
    std::ranges::transform(text, text.begin(), [](char c) {
      return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    });
  }
  return grouped(text, spec.grouping, 3);
}

std::string integer_text(uint64_t number, const FormatSpec& spec) {
  const int base = spec.type == 'b'                       ? 2
                   : spec.type == 'o'                     ? 8
                   : spec.type == 'x' || spec.type == 'X' ? 16
                                                          : 10;
  const std::string digits = digits_of(number, base, spec.type == 'X');
  const std::string text = grouped(digits, spec.grouping, base == 10 ? 3 : 4);
  return spec.alternate && base != 10 ? std::string{'0', spec.type} + text : text;
}

std::string with_sign(bool negative, char sign, const std::string& text, const FormatSpec& spec,
                      Meter& meter) {
  const std::string mark = negative ? "-" : sign == '-' ? "" : std::string(1, sign);
  if (spec.align != '=') return padded(mark + text, spec, '>', meter);
  FormatSpec inner = spec;
  inner.align = '>';
  inner.width = std::max<int64_t>(0, spec.width - std::ssize(mark));
  return mark + padded(text, inner, '>', meter);
}

[[noreturn]] void refuse(char type, const Value& value) {
  throw Failure(detail::formatted("the format '{}' of {} is not supported",
                                  type == '\0' ? "" : std::string(1, type), value.kind()));
}

std::string format_number(const Value& value, const FormatSpec& spec, Meter& meter) {
  const bool is_zero_group = spec.grouping != '\0' && spec.align == '=' && spec.width > 0;
  if (is_zero_group || (spec.alternate && value.real())) refuse('#', value);
  const bool as_whole = value.as_integer() &&
                        (spec.type == '\0' || spec.precision == std::nullopt) &&
                        std::string_view("\0bdoxXn", 7).find(spec.type) != std::string_view::npos;
  if (as_whole) {
    const int64_t number = *value.as_integer();
    const uint64_t size =
        number < 0 ? ~static_cast<uint64_t>(number) + 1 : static_cast<uint64_t>(number);
    if (spec.precision) refuse('.', value);
    return with_sign(number < 0, spec.sign, integer_text(size, spec), spec, meter);
  }
  if (std::string_view("\0eEfFgG%n", 9).find(spec.type) == std::string_view::npos) {
    refuse(spec.type, value);
  }
  const double number = *value.as_number();
  return with_sign(std::signbit(number), spec.sign, real_text(std::abs(number), spec, meter), spec,
                   meter);
}

}  // namespace

FormatSpec parse_format_spec(std::string_view text) {
  FormatSpec spec;
  const std::string whole(text);
  size_t first = 0;
  if (!text.empty()) next_character(text, first);
  if (first < text.size() && is_align(text[first])) {
    spec.fill = text.substr(0, first);
    spec.align = text[first];
    text.remove_prefix(first + 1);
  } else if (!text.empty() && is_align(text.front())) {
    spec.align = text.front();
    text.remove_prefix(1);
  }
  for (const char sign : {'+', '-', ' '}) {
    if (take(text, sign)) spec.sign = sign;
  }
  spec.alternate = take(text, '#');
  if (take(text, '0') && spec.align == '\0') {
    spec.fill = "0";
    spec.align = '=';
  }
  spec.width = take_number(text).value_or(0);
  for (const char mark : {',', '_'}) {
    if (take(text, mark)) spec.grouping = mark;
  }
  if (take(text, '.')) {
    spec.precision = take_number(text);
    if (!spec.precision)
      throw Failure(detail::formatted("the format '{}' without precision", whole));
  }
  if (!text.empty()) {
    spec.type = text.front();
    text.remove_prefix(1);
  }
  if (!text.empty()) throw Failure(detail::formatted("the format '{}' is not supported", whole));
  return spec;
}

std::string padded(const std::string& text, const FormatSpec& spec, char default_align,
                   Meter& meter) {
  const int64_t missing = spec.width - character_count(text);
  if (missing <= 0) return text;
  meter.charge(static_cast<uint64_t>(missing));
  meter.charge(static_cast<uint64_t>(missing) * spec.fill.size());
  const char align = spec.align == '\0' ? default_align : spec.align;
  const int64_t before = align == '<' ? 0 : align == '^' ? missing / 2 : missing;
  std::string result;
  for (int64_t i = 0; i < before; ++i) result += spec.fill;
  result += text;
  for (int64_t i = before; i < missing; ++i) result += spec.fill;
  return result;
}

std::string format_value(const Value& value, const FormatSpec& spec, Meter& meter) {
  const bool has_any = spec.width > 0 || spec.precision || spec.align != '\0' || spec.type != '\0';
  if (value.as_number() && !(value.boolean() && !has_any)) return format_number(value, spec, meter);
  if (value.undefined()) {
    FormatSpec plain;
    plain.width = spec.width;
    if (spec.type != '\0' || spec.precision) refuse(spec.type, value);
    return padded("", plain, '<', meter);
  }
  if (!value.text() && has_any) refuse(spec.type, value);
  if (spec.align == '=' && spec.fill != "0") refuse('=', value);
  if (spec.type != '\0' && spec.type != 's') refuse(spec.type, value);
  std::string text = to_text(value, meter);
  if (spec.precision && character_count(text) > *spec.precision) {
    const auto pieces = characters(text);
    meter.charge(text.size() * 4);
    text = text.substr(0, static_cast<size_t>(pieces[*spec.precision].data() - text.data()));
  }
  FormatSpec layout = spec;
  if (layout.align == '=') layout.align = '\0';
  return padded(text, layout, '<', meter);
}

}  // namespace slice::detail::jinja
