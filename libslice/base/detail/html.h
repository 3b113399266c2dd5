#pragma once

#include <string>
#include <string_view>

namespace slice::detail {

/// A text from outside, as HTML text or the value of a quoted attribute. Markup and quotes are
/// escaped; control characters other than tab and line feed, which no HTML may hold, become their
/// pictures (U+2400 …), and what is no character at all, or no UTF-8, U+FFFD.
std::string html_text(std::string_view text);

}  // namespace slice::detail
