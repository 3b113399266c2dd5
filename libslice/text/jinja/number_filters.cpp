#include <algorithm>
#include <charconv>
#include <cmath>

#include "libslice/base/detail/formatted.h"
#include "libslice/text/jinja/filters.h"
#include "libslice/text/jinja/format_spec.h"
#include "libslice/text/jinja/operators.h"
#include "libslice/text/jinja/text.h"

namespace slice::detail::jinja {
namespace {

// A number as Python's int() and float() read it: white space around it, a sign, and _ between
// digits.
std::optional<std::string> number_text(std::string_view text) {
  text = strip_left(strip_right(text));
  if (text.starts_with('+') && !text.substr(1).starts_with('-')) text.remove_prefix(1);
  std::string digits;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto is_digit = [&](size_t at) {
      return at < text.size() && std::isalnum(static_cast<unsigned char>(text[at])) != 0;
    };
    if (text[i] != '_') {
      digits += text[i];
    } else if (i == 0 || !is_digit(i - 1) || !is_digit(i + 1)) {
      return std::nullopt;
    }
  }
  return digits;
}

std::optional<double> parsed_real(std::string_view text) {
  const auto digits = number_text(text);
  if (!digits) return std::nullopt;
  double number = 0;
  const char *begin = digits->data(), *end = begin + digits->size();
  const auto result = std::from_chars(begin, end, number);
  if (result.ptr != end || digits->ends_with(')')) return std::nullopt;
  if (result.ec == std::errc::result_out_of_range) {
    throw Failure(detail::formatted("float(): {} is out of range", *digits));
  }
  return result.ec == std::errc() ? std::optional(number) : std::nullopt;
}

std::optional<int64_t> parsed_integer(std::string_view text, int64_t base) {
  auto digits = number_text(text);
  if (!digits) return std::nullopt;
  const bool negative = digits->starts_with('-');
  if (negative) digits->erase(0, 1);
  const std::string prefix = lower(digits->substr(0, 2));
  const int64_t named = prefix == "0x" ? 16 : prefix == "0o" ? 8 : prefix == "0b" ? 2 : 10;
  if (base == 0) base = named;
  if (base == named && base != 10) digits->erase(0, 2);
  int64_t number = 0;
  const char* begin = digits->data();
  const auto result =
      std::from_chars(begin, begin + digits->size(), number, static_cast<int>(base));
  if (digits->starts_with('-') || result.ptr != begin + digits->size()) return std::nullopt;
  if (result.ec == std::errc::result_out_of_range) throw Failure("an integer past 64 bits");
  if (result.ec != std::errc()) return std::nullopt;
  return negative ? -number : number;
}

Value to_integer(const Value& subject, const Arguments& arguments, Meter& meter) {
  const auto bound = arguments.bind("int", {"default", "base"});
  const Value absent = bound[0].is_absent() ? Value(int64_t{0}) : bound[0];
  const int64_t base = want_integer(bound[1], "int()", 10);
  if (base != 0 && (base < 2 || base > 36)) throw Failure("int(): want a base from 2 to 36");
  check_defined(subject);
  if (subject.as_integer()) return *subject.as_integer();
  std::optional<double> number = subject.as_number();
  if (subject.text()) {
    meter.charge(subject.text()->size() * 4);
    if (const auto integer = parsed_integer(*subject.text(), base)) return *integer;
    number = parsed_real(*subject.text());
  }
  if (!number || !std::isfinite(*number)) return absent;
  if (std::abs(*number) >= 0x1p63) throw Failure("an integer past 64 bits");
  return static_cast<int64_t>(*number);
}

Value to_real(const Value& subject, const Arguments& arguments, Meter& meter) {
  const auto bound = arguments.bind("float", {"default"});
  check_defined(subject);
  if (subject.as_number()) return *subject.as_number();
  if (subject.text()) {
    meter.charge(subject.text()->size() * 4);
    if (const auto number = parsed_real(*subject.text())) return *number;
  }
  return bound[0].is_absent() ? Value(0.0) : bound[0];
}

Value absolute(const Value& subject, const Arguments& arguments, Meter&) {
  arguments.bind("abs", {});
  check_defined(subject);
  if (!subject.as_number()) throw Failure(detail::formatted("abs() of {}", subject.kind()));
  if (subject.real()) return std::abs(*subject.real());
  return *subject.as_integer() < 0 ? negated(subject) : Value(*subject.as_integer());
}

// Python's round(): the nearest decimal, and of two the even one.
Value rounded(const Value& subject, int64_t precision, Meter& meter) {
  if (subject.as_integer() && precision >= 0) return *subject.as_integer();
  if (precision < 0) {
    const double unit = std::pow(10.0, static_cast<double>(-precision));
    const double number = std::nearbyint(*subject.as_number() / unit) * unit;
    if (subject.real()) return number;
    return std::abs(number) < 0x1p53 ? Value(static_cast<int64_t>(number)) : Value(subject);
  }
  if (!std::isfinite(*subject.real()) || precision > 300) return subject;
  FormatSpec spec;
  spec.type = 'f';
  spec.precision = precision;
  const auto number = parsed_real(format_value(subject, spec, meter));
  return number ? Value(*number) : subject;
}

Value round_number(const Value& subject, const Arguments& arguments, Meter& meter) {
  const auto bound = arguments.bind("round", {"precision", "method"});
  const int64_t precision = want_integer(bound[0], "round()", 0);
  const std::string method = bound[1].is_absent() ? "common" : want_text(bound[1], "round()");
  check_defined(subject);
  if (!subject.as_number()) throw Failure(detail::formatted("round() of {}", subject.kind()));
  if (method == "common") return rounded(subject, precision, meter);
  if (method != "ceil" && method != "floor") {
    throw Failure(detail::formatted("round(): '{}' is no method", method));
  }
  const double unit = std::pow(10.0, static_cast<double>(precision));
  const double number = *subject.as_number() * unit;
  if (!std::isfinite(number)) throw Failure("round() of a number that is not finite");
  return (method == "ceil" ? std::ceil(number) : std::floor(number)) / unit;
}

Value file_size(const Value& subject, const Arguments& arguments, Meter& meter) {
  const auto bound = arguments.bind("filesizeformat", {"binary"});
  check_defined(subject);
  const auto size = subject.text() ? parsed_real(*subject.text()) : subject.as_number();
  if (!size) throw Failure(detail::formatted("filesizeformat() of {}", subject.kind()));
  const bool binary = bound[0].truth();
  const double base = binary ? 1024 : 1000;
  if (*size == 1) return "1 Byte";
  if (*size < base) return std::to_string(static_cast<int64_t>(*size)) + " Bytes";
  constexpr std::string_view kPrefixes = "kMGTPEZY";
  double unit = base;
  size_t place = 0;
  while (place + 1 < kPrefixes.size() && *size >= unit * base) {
    unit *= base;
    ++place;
  }
  FormatSpec spec;
  spec.type = 'f';
  spec.precision = 1;
  const std::string prefix = binary ? (place == 0 ? "Ki" : std::string{kPrefixes[place], 'i'})
                                    : std::string(1, kPrefixes[place]);
  return format_value(base * *size / (unit * base), spec, meter) + " " + prefix + "B";
}

}  // namespace

const Filters& number_filters() {
  static const Filters table = {{"int", to_integer},
                                {"float", to_real},
                                {"abs", absolute},
                                {"round", round_number},
                                {"filesizeformat", file_size}};
  return table;
}

}  // namespace slice::detail::jinja
