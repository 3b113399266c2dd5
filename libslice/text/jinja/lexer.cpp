#include "libslice/text/jinja/lexer.h"

#include <unicode/uchar.h>

#include <algorithm>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/unicode.h"
#include "libslice/text/jinja/literals.h"
#include "libslice/text/jinja/meter.h"
#include "libslice/text/jinja/text.h"

namespace slice::detail::jinja {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Of the identifier at the beginning of the text; 0 without one.
size_t name_length(std::string_view text) {
  size_t length = 0;
  for (size_t next = 0; next < text.size(); length = next) {
    const auto c = static_cast<UChar32>(next_character(text, next));
    const UProperty property = length == 0 ? UCHAR_XID_START : UCHAR_XID_CONTINUE;
    if (c != '_' && !u_hasBinaryProperty(c, property)) break;
  }
  return length;
}

// Every line break as \n; one at the end is not part of the template.
std::string normalised(std::string_view source) {
  std::string text;
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      if (i + 1 < source.size() && source[i + 1] == '\n') continue;
      text += '\n';
    } else {
      text += source[i];
    }
  }
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

class Lexer {
 public:
  Lexer(std::string_view source, const std::string& name) : name_(name) {
    SLICE_FORMAT_CHECK(source.size() <= kMaxTemplateBytes, "{}: {} bytes, want at most {}", name,
                       source.size(), kMaxTemplateBytes);
    check_utf8(source, name);
    source_ = normalised(source);
  }

  std::vector<Token> run() {
    try {
      while (position_ < source_.size()) read_data();
    } catch (const Failure& failure) {
      fail("{}", failure.what());
    }
    add(Token::Kind::kEnd, "end of the template");
    return std::move(tokens_);
  }

 private:
  template <typename... Parts>
  [[noreturn]] void fail(fmt::format_string<Parts...> format, Parts&&... parts) const {
    throw FormatError(detail::formatted("{}: line {}: {}", name_, line_,
                                        detail::formatted(format, std::forward<Parts>(parts)...)));
  }

  void add(Token::Kind kind, std::string text) {
    tokens_.push_back({kind, std::move(text), line_});
  }

  std::string_view rest() const { return std::string_view(source_).substr(position_); }

  void advance(size_t count) {
    line_ += static_cast<int>(std::ranges::count(rest().substr(0, count), '\n'));
    position_ += count;
  }

  void skip_spaces() { advance(rest().size() - strip_left(rest()).size()); }
  void skip_line_break() { advance(rest().starts_with('\n') ? 1 : 0); }

  // Text up to the next delimiter, and what the delimiter opens.
  void read_data() {
    size_t length = 0;
    const std::string_view text = rest();
    const auto is_mark = [&](size_t i) {
      return text[i] == '{' && (text[i + 1] == '{' || text[i + 1] == '%' || text[i + 1] == '#');
    };
    while (length + 1 < text.size() && !is_mark(length)) ++length;
    if (length + 1 >= text.size()) {
      add_data(text);
      return advance(text.size());
    }
    const char mark = text[length + 1];
    const char sign = length + 2 < text.size() ? text[length + 2] : '\0';
    add_data(kept(text.substr(0, length), mark, sign));
    advance(length + 2 + (sign == '-' || sign == '+'));
    if (mark == '#') return skip_comment();
    if (mark == '%' && skip_raw_begin()) return read_raw();
    read_code(mark == '{');
  }

  // The rest of a tag {% raw %}, if it is one.
  bool skip_raw_begin() {
    std::string_view text = strip_left(rest());
    if (!text.starts_with("raw")) return false;
    text = strip_left(text.substr(3));
    const bool strips = text.starts_with("-%}");
    if (!strips && !text.starts_with("%}")) return false;
    advance(rest().size() - text.size() + (strips ? 3 : 2));
    if (strips) skip_spaces();
    return true;
  }

  // Text up to {% endraw %}, whatever is in it.
  void read_raw() {
    const std::string_view text = rest();
    for (size_t i = text.find("{%"); i != std::string_view::npos; i = text.find("{%", i + 2)) {
      std::string_view tag = text.substr(i + 2);
      const char sign = tag.empty() ? '\0' : tag.front();
      tag = strip_left(tag.substr(sign == '-' || sign == '+'));
      if (!tag.starts_with("endraw")) continue;
      tag = strip_left(tag.substr(6));
      const bool has_sign = tag.starts_with('-') || tag.starts_with('+');
      if (!tag.substr(has_sign).starts_with("%}")) continue;
      const char last = tag.front();
      add_data(kept(text.substr(0, i), '%', sign));
      advance(text.size() - tag.size() + 2 + has_sign);
      return swallow_after(last);
    }
    fail("'raw' without 'endraw'");
  }

  void add_data(std::string_view text) {
    if (!text.empty()) add(Token::Kind::kData, std::string(text));
  }

  // What a delimiter leaves of the text before it.
  std::string_view kept(std::string_view text, char mark, char sign) const {
    if (sign == '-') return strip_right(text);
    if (sign == '+' || mark == '{') return text;
    const size_t line_begin = text.rfind('\n') + 1;  // 0 without one
    const bool at_line_start = line_begin > 0 || position_ == 0 || source_[position_ - 1] == '\n';
    const bool blank = strip_left(text.substr(line_begin)).empty();
    return at_line_start && blank ? text.substr(0, line_begin) : text;
  }

  void skip_comment() {
    const size_t end = rest().find("#}");
    if (end == std::string_view::npos) fail("a comment without '#}}'");
    const char sign = end > 0 ? rest()[end - 1] : '\0';
    advance(end + 2);
    swallow_after(sign);
  }

  void swallow_after(char sign) {
    if (sign == '-') {
      skip_spaces();
    } else if (sign != '+') {
      skip_line_break();
    }
  }

  void read_code(bool is_variable) {
    using Kind = Token::Kind;
    const int begin_line = line_;
    const std::string_view close = is_variable ? "}}" : "%}";
    add(is_variable ? Kind::kVariableBegin : Kind::kBlockBegin, is_variable ? "{{" : "{%");
    brackets_.clear();
    while (true) {
      skip_spaces();
      if (rest().empty()) {
        line_ = begin_line;
        fail("'{}' without '{}'", is_variable ? "{{" : "{%", close);
      }
      const char first = rest().front();
      const bool signed_end =
          (first == '-' || (first == '+' && !is_variable)) && rest().substr(1).starts_with(close);
      if (brackets_.empty() && (signed_end || rest().starts_with(close))) {
        add(is_variable ? Kind::kVariableEnd : Kind::kBlockEnd, std::string(close));
        advance(close.size() + signed_end);
        if (first == '-' || !is_variable) swallow_after(first);
        return;
      }
      read_token();
    }
  }

  void read_token() {
    const char first = rest().front();
    if (is_digit(first)) return read_number();
    if (first == '"' || first == '\'') return read_string(first);
    const size_t length = name_length(rest());
    if (length == 0) return read_operator();
    add(Token::Kind::kName, std::string(rest().substr(0, length)));
    advance(length);
  }

  void read_number() {
    const NumberLiteral number = read_number_literal(rest());
    add(number.is_float ? Token::Kind::kFloat : Token::Kind::kInteger, number.digits);
    advance(number.length);
  }

  void read_string(char quote) {
    size_t end = 1;
    while (end < rest().size() && rest()[end] != quote) end += rest()[end] == '\\' ? 2 : 1;
    if (end >= rest().size()) fail("a string without its closing {}", quote);
    add(Token::Kind::kString, unescaped(rest().substr(1, end - 1)));
    advance(end + 1);
  }

  void read_operator() {
    constexpr std::string_view kOperators[] = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/",
                                               "*",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                               ">",  "<",  "=",  ".",  ":",  "|",  ",", ";"};
    const auto* found = std::ranges::find_if(
        kOperators, [&](std::string_view text) { return rest().starts_with(text); });
    if (found == std::end(kOperators)) {
      size_t end = 0;
      next_character(rest(), end);
      fail("'{}' begins no token", rest().substr(0, end));
    }
    constexpr std::string_view kOpening = "([{", kClosing = ")]}";
    const char first = found->front();
    const size_t opening = kOpening.find(first), closing = kClosing.find(first);
    if (opening != std::string_view::npos) brackets_ += kClosing[opening];
    if (closing != std::string_view::npos) {
      if (!brackets_.ends_with(first)) fail("'{}' closes no bracket", first);
      brackets_.pop_back();
    }
    add(Token::Kind::kOperator, std::string(*found));
    advance(found->size());
  }

  const std::string& name_;
  std::string source_, brackets_;  // brackets that are open
  size_t position_ = 0;
  int line_ = 1;
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize_template(std::string_view source, const std::string& name) {
  return Lexer(source, name).run();
}

}  // namespace slice::detail::jinja
