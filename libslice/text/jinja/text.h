#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace slice::detail::jinja {

/// Python's string methods on valid UTF-8; a character is a code point.

/// As str.isspace(): Unicode's white space and the four separators of ASCII.
bool is_space(char32_t character);

/// The characters in order, as pieces of `text`.
std::vector<std::string_view> characters(std::string_view text);
int64_t character_count(std::string_view text);

/// Without leading or trailing characters of `set`; without white space when there is no set.
std::string_view strip_left(std::string_view text, std::optional<std::string_view> set = {});
std::string_view strip_right(std::string_view text, std::optional<std::string_view> set = {});

/// The lines, with their line breaks if `keep_breaks`.
std::vector<std::string_view> lines(std::string_view text, bool keep_breaks);

/// Split at runs of white space, at most `limit` times unless it is negative.
std::vector<std::string_view> split_at_spaces(std::string_view text, int64_t limit);
/// Split at every `separator`, which is not empty.
std::vector<std::string_view> split(std::string_view text, std::string_view separator,
                                    int64_t limit);
/// The same two from the end: they differ by the pieces that a limit leaves whole.
std::vector<std::string_view> split_last_at_spaces(std::string_view text, int64_t limit);
std::vector<std::string_view> split_last(std::string_view text, std::string_view separator,
                                         int64_t limit);

/// Every `from` becomes `to`: the first `limit` of them unless it is negative. An empty one is
/// between all characters.
std::string replace(std::string_view text, std::string_view from, std::string_view to,
                    int64_t limit);

std::string upper(std::string_view text);
std::string lower(std::string_view text);
/// The first character in title case, the others in lower case.
std::string capitalize(std::string_view text);
/// Every word: the first letter in title case, the others in lower case.
std::string title(std::string_view text);
std::string swap_case(std::string_view text);
std::string fold_case(std::string_view text);

/// As Python's repr() takes it: not a control, a separator or unassigned.
bool is_printable(char32_t character);

}  // namespace slice::detail::jinja
