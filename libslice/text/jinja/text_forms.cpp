#include <unicode/uchar.h>

#include <algorithm>

#include "libslice/base/detail/formatted.h"
#include "libslice/base/detail/unicode.h"
#include "libslice/text/jinja/braces.h"
#include "libslice/text/jinja/compare.h"
#include "libslice/text/jinja/format_spec.h"
#include "libslice/text/jinja/methods.h"
#include "libslice/text/jinja/text.h"

namespace slice::detail::jinja {
namespace {

template <std::string (*kChange)(std::string_view)>
Value change_case(const Value& receiver, const Arguments& arguments, Meter& meter) {
  arguments.bind("upper, lower, title or the like", {});
  meter.charge(receiver.text()->size() * 8);
  return new_text(kChange(*receiver.text()), meter);
}

template <char kAlign>
Value pad(const Value& receiver, const Arguments& arguments, Meter& meter) {
  const auto bound = arguments.bind("ljust, rjust or center", {"width", "fillchar"});
  const std::string& text = *receiver.text();
  FormatSpec spec;
  spec.width = want_integer(bound[0], "the width");
  if (!bound[1].is_absent()) spec.fill = want_text(bound[1], "the fill character");
  if (character_count(spec.fill) != 1) throw Failure("the fill is one character");
  spec.align = kAlign;
  // Python puts the odd one of center() on the left when the width is odd.
  const int64_t missing = spec.width - character_count(text);
  if (kAlign != '^' || missing <= 0 || missing % 2 == 0 || spec.width % 2 == 0) {
    return new_text(padded(text, spec, kAlign, meter), meter);
  }
  spec.width -= 1;
  return new_text(spec.fill + padded(text, spec, kAlign, meter), meter);
}

Value fill_zeros(const Value& receiver, const Arguments& arguments, Meter& meter) {
  const auto bound = arguments.bind("zfill", {"width"});
  const std::string& text = *receiver.text();
  const size_t sign = text.starts_with('-') || text.starts_with('+') ? 1 : 0;
  FormatSpec spec;
  spec.fill = "0";
  spec.width = std::max<int64_t>(0, want_integer(bound[0], "zfill()")) - static_cast<int64_t>(sign);
  return new_text(text.substr(0, sign) + padded(text.substr(sign), spec, '>', meter), meter);
}

Value expand_tabs(const Value& receiver, const Arguments& arguments, Meter& meter) {
  const auto bound = arguments.bind("expandtabs", {"tabsize"});
  const int64_t size = std::max<int64_t>(0, want_integer(bound[0], "expandtabs()", 8));
  const std::string& text = *receiver.text();
  std::string result;
  int64_t column = 0;
  for (size_t i = 0; i < text.size();) {
    const size_t begin = i;
    const char32_t character = next_character(text, i);
    if (character == '\t') {
      const int64_t spaces = size > 0 ? size - column % size : 0;
      meter.charge(static_cast<uint64_t>(spaces));
      result.append(static_cast<size_t>(spaces), ' ');
      column += spaces;
    } else {
      result.append(text, begin, i - begin);
      column = character == '\n' || character == '\r' ? 0 : column + 1;
    }
  }
  return new_text(std::move(result), meter);
}

bool is_alpha(UChar32 c) { return (U_GET_GC_MASK(c) & U_GC_L_MASK) != 0; }
bool is_decimal(UChar32 c) { return u_charType(c) == U_DECIMAL_DIGIT_NUMBER; }
bool is_digit(UChar32 c) {
  const auto type = u_getIntPropertyValue(c, UCHAR_NUMERIC_TYPE);
  return type == U_NT_DECIMAL || type == U_NT_DIGIT;
}
bool is_numeric(UChar32 c) { return u_getIntPropertyValue(c, UCHAR_NUMERIC_TYPE) != U_NT_NONE; }
bool is_alphanumeric(UChar32 c) {
  return is_alpha(c) || is_decimal(c) || is_digit(c) || is_numeric(c);
}
bool is_blank(UChar32 c) { return is_space(static_cast<char32_t>(c)); }
bool is_shown(UChar32 c) { return is_printable(static_cast<char32_t>(c)); }
bool is_ascii(UChar32 c) { return c < 0x80; }

// All characters are of the class; `kOfEmpty` is the answer for none.
template <bool (*kIsOf)(UChar32), bool kOfEmpty>
Value all_are(const Value& receiver, const Arguments& arguments, Meter& meter) {
  arguments.bind("isalpha, isdigit or the like", {});
  const std::string& text = *receiver.text();
  meter.charge(text.size() * 4);
  for (size_t i = 0; i < text.size();) {
    if (!kIsOf(static_cast<UChar32>(next_character(text, i)))) return false;
  }
  return kOfEmpty || !text.empty();
}

// No letter of the other case, and one of this.
template <bool kUpper>
Value has_case(const Value& receiver, const Arguments& arguments, Meter& meter) {
  arguments.bind("islower or isupper", {});
  const std::string& text = *receiver.text();
  meter.charge(text.size() * 4);
  bool found = false;
  for (size_t i = 0; i < text.size();) {
    const auto c = static_cast<UChar32>(next_character(text, i));
    const bool is_upper = u_isUUppercase(c) != 0, is_lower = u_isULowercase(c) != 0;
    if ((kUpper ? is_lower : is_upper) || u_charType(c) == U_TITLECASE_LETTER) return false;
    found = found || (kUpper ? is_upper : is_lower);
  }
  return found;
}

Value is_title(const Value& receiver, const Arguments& arguments, Meter& meter) {
  arguments.bind("istitle", {});
  const std::string& text = *receiver.text();
  meter.charge(text.size() * 4);
  bool found = false, in_word = false;
  for (size_t i = 0; i < text.size();) {
    const auto c = static_cast<UChar32>(next_character(text, i));
    const bool begins = u_isUUppercase(c) || u_charType(c) == U_TITLECASE_LETTER;
    const bool goes_on = u_isULowercase(c) != 0;
    if (in_word ? begins : goes_on) return false;
    in_word = begins || goes_on;
    found = found || in_word;
  }
  return found;
}

Value is_identifier(const Value& receiver, const Arguments& arguments, Meter& meter) {
  arguments.bind("isidentifier", {});
  const std::string& text = *receiver.text();
  meter.charge(text.size() * 4);
  for (size_t i = 0; i < text.size();) {
    const bool first = i == 0;
    const auto c = static_cast<UChar32>(next_character(text, i));
    const bool fits =
        c == '_' || u_hasBinaryProperty(c, first ? UCHAR_XID_START : UCHAR_XID_CONTINUE);
    if (!fits) return false;
  }
  return !text.empty();
}

Value translate(const Value& receiver, const Arguments& arguments, Meter& meter) {
  const auto bound = arguments.bind("translate", {"table"});
  if (!bound[0].dict()) throw Failure("translate(): want a dict");
  const std::string& text = *receiver.text();
  std::string result;
  for (size_t i = 0; i < text.size();) {
    const size_t begin = i;
    const auto code = static_cast<int64_t>(next_character(text, i));
    const Value* found = find_entry(*bound[0].dict(), code, meter);
    if (!found) {
      result.append(text, begin, i - begin);
    } else if (found->text()) {
      meter.charge(found->text()->size());
      result += *found->text();
    } else if (!found->is_none()) {
      const int64_t other = want_integer(*found, "translate()");
      if (other < 0 || other > 0x10FFFF || (other >= 0xD800 && other < 0xE000)) {
        throw Failure(detail::formatted("translate(): {} is not a character", other));
      }
      result += to_utf8(static_cast<char32_t>(other));
    }
  }
  return new_text(std::move(result), meter);
}

Value encode(const Value& receiver, const Arguments& arguments, Meter& meter) {
  const auto bound = arguments.bind("encode", {"encoding", "errors"});
  const std::string name = bound[0].is_absent() ? "utf-8" : lower(want_text(bound[0], "encode()"));
  if (name != "utf-8" && name != "utf8") {
    throw Failure(detail::formatted("encode('{}') is not supported", name));
  }
  meter.charge(receiver.text()->size() * Meter::kElement);
  std::vector<Value> bytes;
  for (const char byte : *receiver.text()) {
    bytes.emplace_back(int64_t{static_cast<unsigned char>(byte)});
  }
  return new_list(std::move(bytes), meter, Sequence::kBytes);
}

}  // namespace

const Methods& text_forms() {
  static const Methods methods = {{"upper", change_case<upper>},
                                  {"lower", change_case<lower>},
                                  {"capitalize", change_case<capitalize>},
                                  {"title", change_case<title>},
                                  {"swapcase", change_case<swap_case>},
                                  {"casefold", change_case<fold_case>},
                                  {"ljust", pad<'<'>},
                                  {"rjust", pad<'>'>},
                                  {"center", pad<'^'>},
                                  {"zfill", fill_zeros},
                                  {"expandtabs", expand_tabs},
                                  {"isalpha", all_are<is_alpha, false>},
                                  {"isdecimal", all_are<is_decimal, false>},
                                  {"isdigit", all_are<is_digit, false>},
                                  {"isnumeric", all_are<is_numeric, false>},
                                  {"isalnum", all_are<is_alphanumeric, false>},
                                  {"isspace", all_are<is_blank, false>},
                                  {"isprintable", all_are<is_shown, true>},
                                  {"isascii", all_are<is_ascii, true>},
                                  {"islower", has_case<false>},
                                  {"isupper", has_case<true>},
                                  {"istitle", is_title},
                                  {"isidentifier", is_identifier},
                                  {"translate", translate},
                                  {"encode", encode},
                                  {"format", format_braces}};
  return methods;
}

}  // namespace slice::detail::jinja
