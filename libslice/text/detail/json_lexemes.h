#pragma once

#include <cstdint>

namespace slice::detail {

/// A JSON string (RFC 8259, section 7), byte by byte. Escaped surrogates come in pairs and bytes are
/// UTF-8, so that every parser takes it.
enum class InString : uint8_t {
  kOpen,     ///< before the quote
  kContent,  ///< between characters
  kEscape,
  kHex1,
  kHex2,
  kHex2AfterD,
  kHex3,
  kHex4,
  kHigh3,  ///< of a high surrogate
  kHigh4,
  kLowEscape,
  kLowU,
  kLowD,
  kLowRange,
  kTail1,  ///< bytes of a UTF-8 character that are missing
  kTail2,
  kTail3,
  kTail2AfterE0,
  kTail2AfterED,
  kTail3AfterF0,
  kTail3AfterF4,
  kClosed,
  kWrong,
};
InString next_in_string(InString state, uint8_t byte);

/// A JSON number of at most 18 digits before and after its point and 2 of an exponent, so that it
/// ends and is finite.
enum class InNumber : uint8_t {
  kBegin,
  kMinus,
  kZero,
  kInteger,
  kPoint,
  kFraction,
  kExponent,
  kExponentSign,
  kExponentDigits,
  kWrong,
};
/// @param digits  of the part that `state` is in; set to those of the new one
InNumber next_in_number(InNumber state, uint8_t byte, bool integer, int64_t& digits);
/// Whether it may end here.
bool ends_number(InNumber state);

}  // namespace slice::detail
