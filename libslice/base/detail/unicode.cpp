#include "libslice/base/detail/unicode.h"

#include <unicode/normalizer2.h>
#include <unicode/stringoptions.h>
#include <unicode/uchar.h>
#include <unicode/uregex.h>
#include <unicode/utext.h>
#include <unicode/utf8.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "libslice/base/detail/check.h"

namespace slice::detail {
namespace {

// ICU counts time from a text's start to its end, in units of 10,000 places remembered to go back
// to (a quarter of a millisecond): 8000 are two seconds. A long text gets 100 places a byte on top;
// sane patterns remember a handful.
constexpr size_t kMatchTimeUnits = 8000, kTextBytesPerUnit = 100;
// A loop over anything but a set stores every iteration: room for runs of some million characters.
constexpr int32_t kMatchStackBytes = 512 << 20;

// `\s` and `\S` as sets, over which ICU loops without storing iterations: white space comes in long
// runs.
std::string with_white_space_sets(std::string_view pattern) {
  std::string result;
  int depth = 0;  // of brackets
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c == '\\' && i + 1 < pattern.size()) {
      const char escaped = pattern[++i];
      const bool white_space = depth == 0 && (escaped == 's' || escaped == 'S');
      result += white_space ? detail::formatted("[\\{}]", escaped) : std::string{c, escaped};
      continue;
    }
    if (c == '[') ++depth;
    if (c == ']' && depth > 0) --depth;
    result += c;
  }
  return result;
}

}  // namespace

void check_utf8(std::string_view text, const std::string& name) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
  size_t i = 0;
  while (i < text.size()) {
    uint64_t eight;
    if (i + sizeof(eight) <= text.size()) {
      std::memcpy(&eight, bytes + i, sizeof(eight));
      if ((eight & 0x8080808080808080u) == 0) {  // eight ASCII characters at once
        i += sizeof(eight);
        continue;
      }
    }
    const size_t begin = i;
    UChar32 character;
    U8_NEXT(bytes, i, text.size(), character);
    SLICE_FORMAT_CHECK(character >= 0, "{}: not UTF-8 at byte {}", name, begin);
  }
}

std::string valid_utf8(std::string_view text) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
  std::string valid;
  for (size_t i = 0; i < text.size();) {
    const size_t begin = i;
    UChar32 character;
    U8_NEXT(bytes, i, text.size(), character);
    valid += character < 0 ? std::string_view("\uFFFD") : text.substr(begin, i - begin);
  }
  return valid;
}

size_t incomplete_utf8(std::string_view text) {
  constexpr size_t kLongest = 3;
  const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
  for (size_t size = std::min(kLongest, text.size()); size > 0; --size) {
    size_t i = text.size() - size;
    if (!U8_IS_LEAD(bytes[i]) || U8_COUNT_TRAIL_BYTES(bytes[i]) < static_cast<int>(size)) continue;
    UChar32 character;
    U8_NEXT(bytes, i, text.size(), character);
    if (i == text.size()) return size;  // no byte of it is wrong, and there are too few
  }
  return 0;
}

char32_t next_character(std::string_view text, size_t& offset) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
  UChar32 character;
  U8_NEXT_UNSAFE(bytes, offset, character);
  return static_cast<char32_t>(character);
}

std::string to_utf8(char32_t character) {
  char bytes[U8_MAX_LENGTH];
  size_t length = 0;
  U8_APPEND_UNSAFE(bytes, length, static_cast<UChar32>(character));
  return {bytes, length};
}

std::string to_normal_form(std::string_view text, NormalForm form) {
  UErrorCode status = U_ZERO_ERROR;
  const bool composed = form == NormalForm::kNfc || form == NormalForm::kNfkc;
  const bool canonical = form == NormalForm::kNfc || form == NormalForm::kNfd;
  const icu::Normalizer2* normalizer = icu::Normalizer2::getInstance(
      nullptr, canonical ? "nfc" : "nfkc", composed ? UNORM2_COMPOSE : UNORM2_DECOMPOSE, status);
  SLICE_FORMAT_CHECK(U_SUCCESS(status), "normalisation: {}", u_errorName(status));
  SLICE_FORMAT_CHECK(text.size() <= std::numeric_limits<int32_t>::max(),
                     "text: {} bytes in one piece, want less than 2 GiB", text.size());
  std::string result;
  icu::StringByteSink<std::string> sink(&result, static_cast<int32_t>(text.size()));
  normalizer->normalizeUTF8(0, {text.data(), static_cast<int32_t>(text.size())}, sink, nullptr,
                            status);
  SLICE_FORMAT_CHECK(U_SUCCESS(status), "normalisation: {}", u_errorName(status));
  return result;
}

std::string to_lower_case(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (size_t offset = 0; offset < text.size();) {
    const char32_t character = next_character(text, offset);
    if (character == 0x130) {  // the one character whose lower case is two
      result += "i\xCC\x87";
    } else {
      result += to_utf8(static_cast<char32_t>(u_tolower(static_cast<UChar32>(character))));
    }
  }
  return result;
}

std::string without_marks(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (size_t offset = 0; offset < text.size();) {
    const size_t begin = offset;
    const char32_t character = next_character(text, offset);
    if ((U_GET_GC_MASK(static_cast<UChar32>(character)) & U_GC_M_MASK) == 0) {
      result += text.substr(begin, offset - begin);
    }
  }
  return result;
}

bool is_white_space(char32_t character) { return u_isUWhiteSpace(static_cast<UChar32>(character)); }

bool is_word_character(char32_t character) {
  const auto c = static_cast<UChar32>(character);
  constexpr uint32_t kOthers = U_GC_M_MASK | U_GC_ND_MASK | U_GC_PC_MASK;
  return u_hasBinaryProperty(c, UCHAR_ALPHABETIC) || (U_GET_GC_MASK(c) & kOthers) != 0 ||
         u_hasBinaryProperty(c, UCHAR_JOIN_CONTROL);
}

std::string quote_regex(std::string_view literal) {
  std::string quoted;
  for (const char c : literal) {
    if (std::strchr("\\^$.|?*+()[]{}-&#", c) && c != '\0') quoted += '\\';
    quoted += c;
  }
  return quoted;
}

void RegexMatcher::CloseRegex::operator()(URegularExpression* regex) const { uregex_close(regex); }
void RegexMatcher::CloseText::operator()(UText* text) const { utext_close(text); }

RegexMatcher::RegexMatcher(const std::string& pattern, const std::string& source)
    : pattern_(pattern), source_(source) {
  UErrorCode status = U_ZERO_ERROR;
  UParseError where{};
  const std::string compiled = with_white_space_sets(pattern);
  std::unique_ptr<UText, CloseText> text(
      utext_openUTF8(nullptr, compiled.data(), static_cast<int64_t>(compiled.size()), &status));
  if (U_SUCCESS(status)) regex_.reset(uregex_openUText(text.get(), 0, &where, &status));
  SLICE_FORMAT_CHECK(U_SUCCESS(status), "{}: pattern '{}': {} at character {}", source, pattern,
                     u_errorName(status), where.offset);
  limit_memory();
}

void RegexMatcher::limit_memory() {
  UErrorCode status = U_ZERO_ERROR;
  uregex_setStackLimit(regex_.get(), kMatchStackBytes, &status);
  SLICE_FORMAT_CHECK(U_SUCCESS(status), "{}: pattern '{}': {}", source_, pattern_,
                     u_errorName(status));
}

RegexMatcher RegexMatcher::clone() const {
  RegexMatcher copy;
  UErrorCode status = U_ZERO_ERROR;
  copy.pattern_ = pattern_;
  copy.source_ = source_;
  copy.regex_.reset(uregex_clone(regex_.get(), &status));
  SLICE_FORMAT_CHECK(U_SUCCESS(status), "{}: pattern '{}': {}", source_, pattern_,
                     u_errorName(status));
  copy.limit_memory();
  return copy;
}

void RegexMatcher::reset(std::string_view text) {
  UErrorCode status = U_ZERO_ERROR;
  SLICE_FORMAT_CHECK(text.size() <= std::numeric_limits<int32_t>::max(),
                     "text: {} bytes in one piece, want less than 2 GiB", text.size());
  UText* opened =
      utext_openUTF8(text_.get(), text.data(), static_cast<int64_t>(text.size()), &status);
  if (!text_) text_.reset(opened);
  uregex_setUText(regex_.get(), text_.get(), &status);
  uregex_setTimeLimit(regex_.get(),
                      static_cast<int32_t>(kMatchTimeUnits + text.size() / kTextBytesPerUnit),
                      &status);
  SLICE_FORMAT_CHECK(U_SUCCESS(status), "{}: pattern '{}': {}", source_, pattern_,
                     u_errorName(status));
}

bool RegexMatcher::next(size_t& begin, size_t& end) {
  UErrorCode status = U_ZERO_ERROR;
  while (uregex_findNext(regex_.get(), &status)) {
    begin = static_cast<size_t>(uregex_start64(regex_.get(), 0, &status));
    end = static_cast<size_t>(uregex_end64(regex_.get(), 0, &status));
    if (begin < end) return true;
  }
  SLICE_FORMAT_CHECK(U_SUCCESS(status), "{}: pattern '{}' on this text: {}", source_, pattern_,
                     u_errorName(status));
  return false;
}

}  // namespace slice::detail
