#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

// Python's string methods, as far as lm-evaluation-harness's prompts are made with them. All texts
// are valid UTF-8.
namespace slice::detail {

/// len()
int64_t characters(std::string_view text);
/// strip()
std::string stripped(std::string_view text);
/// len(text) - len(text.rstrip()), in bytes: where trailing white space begins.
size_t end_without_space(std::string_view text);
/// capitalize(): the first character in title case, all others in lower case.
std::string capitalized(std::string_view text);
/// text[0].lower() + text[1:]
std::string with_small_first_letter(std::string_view text);
/// text[:-1]
std::string without_last_character(std::string_view text);
/// HellaSwag's own clean-up of what its WikiHow part left: "[title]" becomes a full stop, other
/// bracketed marks go, two spaces become one.
std::string without_wikihow_marks(std::string_view text);
/// splitlines() at "\n" and "\r\n", without a last empty line.
std::vector<std::string> lines_of(std::string_view text);

}  // namespace slice::detail
