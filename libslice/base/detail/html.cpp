#include "libslice/base/detail/html.h"

#include "libslice/base/detail/unicode.h"

namespace slice::detail {

namespace {

constexpr char32_t kReplacement = 0xFFFD, kPictures = 0x2400, kPictureOfDelete = 0x2421;

/// The character that stands for one that HTML may not hold; itself otherwise.
char32_t allowed(char32_t c) {
  if (c < 0x20) return c == '\t' || c == '\n' ? c : kPictures + c;
  if (c == 0x7F) return kPictureOfDelete;
  const bool control = c >= 0x80 && c < 0xA0;
  const bool none = (c >= 0xFDD0 && c <= 0xFDEF) || (c & 0xFFFE) == 0xFFFE;
  return control || none ? kReplacement : c;
}

}  // namespace

std::string html_text(std::string_view text) {
  const std::string valid = valid_utf8(text);
  std::string html;
  for (size_t offset = 0; offset < valid.size();) {
    switch (const char32_t c = allowed(next_character(valid, offset)); c) {
      case '<':
        html += "&lt;";
        break;
      case '>':
        html += "&gt;";
        break;
      case '&':
        html += "&amp;";
        break;
      case '"':
        html += "&quot;";
        break;
      case '\'':
        html += "&#39;";
        break;
      default:
        html += to_utf8(c);
    }
  }
  return html;
}

}  // namespace slice::detail
