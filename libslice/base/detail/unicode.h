#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

struct URegularExpression;
struct UText;

namespace slice::detail {

/// @throws FormatError  `text` is not UTF-8 (gives `name` and the offset of the first bad byte)
void check_utf8(std::string_view text, const std::string& name);

/// The text with U+FFFD in place of what is not UTF-8: one for each maximal part of a character
/// (Unicode 3.9, as in Python's "replace").
std::string valid_utf8(std::string_view text);
/// Bytes at the end of a text that begin a character which is not whole: 0 … 3.
size_t incomplete_utf8(std::string_view text);

/// The code point at `offset` of valid UTF-8; moves `offset` past it.
char32_t next_character(std::string_view text, size_t& offset);

/// The code point as UTF-8.
std::string to_utf8(char32_t character);

enum class NormalForm { kNfc, kNfd, kNfkc, kNfkd };
/// The text in a Unicode normalisation form.
std::string to_normal_form(std::string_view text, NormalForm form);
/// Every character in lower case by itself: a final sigma is like any other.
std::string to_lower_case(std::string_view text);
/// The text without combining marks.
std::string without_marks(std::string_view text);

bool is_white_space(char32_t character);
/// Whether a regular expression's `\w` matches it.
bool is_word_character(char32_t character);

/// A text quoted, so that as a regular expression it matches only itself.
std::string quote_regex(std::string_view literal);

/// Finds the matches of one ICU regular expression in UTF-8, in place. Not to be shared between
/// threads: each takes a `clone`.
class RegexMatcher {
 public:
  /// @param source  file, for messages. @throws FormatError  ICU rejects the pattern
  RegexMatcher(const std::string& pattern, const std::string& source);
  RegexMatcher clone() const;

  /// Starts over on a text, which must outlive the search and be shorter than 2 GiB.
  void reset(std::string_view text);
  /// The next match that is not empty, as bytes [begin, end); false when there is none.
  /// @throws FormatError  the pattern takes too much memory on this text (512 MB), or too much
  ///                      time: two seconds, and about 3 µs more for every byte of the text
  bool next(size_t& begin, size_t& end);

 private:
  struct CloseRegex {
    void operator()(URegularExpression* regex) const;
  };
  struct CloseText {
    void operator()(UText* text) const;
  };
  RegexMatcher() = default;
  void limit_memory();  // also of a clone, which ICU makes without limits

  std::string pattern_, source_;
  std::unique_ptr<URegularExpression, CloseRegex> regex_;
  std::unique_ptr<UText, CloseText> text_;
};

}  // namespace slice::detail
