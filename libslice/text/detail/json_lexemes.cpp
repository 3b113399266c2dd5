#include "libslice/text/detail/json_lexemes.h"

#include <string_view>

namespace slice::detail {
namespace {

constexpr int64_t kMostDigits = 18, kMostExponentDigits = 2;

bool between(uint8_t byte, int low, int high) { return byte >= low && byte <= high; }

bool is_digit(uint8_t byte) { return between(byte, '0', '9'); }

bool is_hex(uint8_t byte) {
  return is_digit(byte) || between(byte, 'a', 'f') || between(byte, 'A', 'F');
}

bool is_one_of(uint8_t byte, std::string_view set) {
  return set.find(static_cast<char>(byte)) != std::string_view::npos;
}

InString if_ok(bool ok, InString state) { return ok ? state : InString::kWrong; }

// The first byte of a character, a quote or a backslash. UTF-8: Unicode, table 3-7.
InString after_content(uint8_t byte) {
  if (byte == '"') return InString::kClosed;
  if (byte == '\\') return InString::kEscape;
  if (between(byte, 0x20, 0x7f)) return InString::kContent;
  if (between(byte, 0xc2, 0xdf)) return InString::kTail1;
  if (byte == 0xe0) return InString::kTail2AfterE0;
  if (byte == 0xed) return InString::kTail2AfterED;
  if (between(byte, 0xe1, 0xef)) return InString::kTail2;
  if (byte == 0xf0) return InString::kTail3AfterF0;
  if (byte == 0xf4) return InString::kTail3AfterF4;
  return if_ok(between(byte, 0xf1, 0xf3), InString::kTail3);
}

InString after_escape(uint8_t byte) {
  if (byte == 'u') return InString::kHex1;
  return if_ok(is_one_of(byte, "\"\\/bfnrt"), InString::kContent);
}

}  // namespace

InString next_in_string(InString state, uint8_t byte) {
  switch (state) {
    case InString::kOpen:
      return if_ok(byte == '"', InString::kContent);
    case InString::kContent:
      return after_content(byte);
    case InString::kEscape:
      return after_escape(byte);
    case InString::kHex1:
      return is_one_of(byte, "dD") ? InString::kHex2AfterD : if_ok(is_hex(byte), InString::kHex2);
    case InString::kHex2:
      return if_ok(is_hex(byte), InString::kHex3);
    case InString::kHex2AfterD:
      if (is_one_of(byte, "89abAB")) return InString::kHigh3;
      return if_ok(between(byte, '0', '7'), InString::kHex3);
    case InString::kHex3:
      return if_ok(is_hex(byte), InString::kHex4);
    case InString::kHex4:
      return if_ok(is_hex(byte), InString::kContent);
    case InString::kHigh3:
      return if_ok(is_hex(byte), InString::kHigh4);
    case InString::kHigh4:
      return if_ok(is_hex(byte), InString::kLowEscape);
    case InString::kLowEscape:
      return if_ok(byte == '\\', InString::kLowU);
    case InString::kLowU:
      return if_ok(byte == 'u', InString::kLowD);
    case InString::kLowD:
      return if_ok(is_one_of(byte, "dD"), InString::kLowRange);
    case InString::kLowRange:
      return if_ok(is_one_of(byte, "cdefCDEF"), InString::kHex3);
    case InString::kTail1:
      return if_ok(between(byte, 0x80, 0xbf), InString::kContent);
    case InString::kTail2:
      return if_ok(between(byte, 0x80, 0xbf), InString::kTail1);
    case InString::kTail3:
      return if_ok(between(byte, 0x80, 0xbf), InString::kTail2);
    case InString::kTail2AfterE0:
      return if_ok(between(byte, 0xa0, 0xbf), InString::kTail1);
    case InString::kTail2AfterED:
      return if_ok(between(byte, 0x80, 0x9f), InString::kTail1);
    case InString::kTail3AfterF0:
      return if_ok(between(byte, 0x90, 0xbf), InString::kTail2);
    case InString::kTail3AfterF4:
      return if_ok(between(byte, 0x80, 0x8f), InString::kTail2);
    case InString::kClosed:
    case InString::kWrong:
      break;
  }
  return InString::kWrong;
}

InNumber next_in_number(InNumber state, uint8_t byte, bool integer, int64_t& digits) {
  const int64_t before = digits;
  const bool digit = is_digit(byte), fraction = !integer && byte == '.';
  const bool exponent = !integer && is_one_of(byte, "eE");
  digits = 1;
  switch (state) {
    case InNumber::kBegin:
      if (byte == '-') return InNumber::kMinus;
      [[fallthrough]];
    case InNumber::kMinus:
      return byte == '0' ? InNumber::kZero : digit ? InNumber::kInteger : InNumber::kWrong;
    case InNumber::kInteger:
      digits = before + 1;
      if (digit) return before < kMostDigits ? InNumber::kInteger : InNumber::kWrong;
      [[fallthrough]];
    case InNumber::kZero:
      return fraction ? InNumber::kPoint : exponent ? InNumber::kExponent : InNumber::kWrong;
    case InNumber::kPoint:
      return digit ? InNumber::kFraction : InNumber::kWrong;
    case InNumber::kFraction:
      digits = before + 1;
      if (exponent) return InNumber::kExponent;
      return digit && before < kMostDigits ? InNumber::kFraction : InNumber::kWrong;
    case InNumber::kExponent:
      if (is_one_of(byte, "+-")) return InNumber::kExponentSign;
      [[fallthrough]];
    case InNumber::kExponentSign:
      return digit ? InNumber::kExponentDigits : InNumber::kWrong;
    case InNumber::kExponentDigits:
      digits = before + 1;
      return digit && before < kMostExponentDigits ? InNumber::kExponentDigits : InNumber::kWrong;
    case InNumber::kWrong:
      break;
  }
  return InNumber::kWrong;
}

bool ends_number(InNumber state) {
  return state == InNumber::kZero || state == InNumber::kInteger || state == InNumber::kFraction ||
         state == InNumber::kExponentDigits;
}

}  // namespace slice::detail
