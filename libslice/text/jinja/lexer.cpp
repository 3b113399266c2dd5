#include "libslice/text/jinja/lexer.h"

#include <unicode/utf8.h>

#include <algorithm>
#include <cctype>
#include <climits>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/unicode.h"
#include "libslice/text/jinja/meter.h"
#include "libslice/text/jinja/text.h"

namespace slice::detail::jinja {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

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
    while (position_ < source_.size()) read_data();
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
    read_code(mark == '{');
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
    if (!is_letter(first)) return read_operator();
    size_t length = 1;
    while (length < rest().size() && (is_letter(rest()[length]) || is_digit(rest()[length]))) {
      ++length;
    }
    add(Token::Kind::kName, std::string(rest().substr(0, length)));
    advance(length);
  }

  void read_number() {
    const std::string_view text = rest();
    const auto digits_end = [&](size_t i) {
      while (i < text.size() && (is_digit(text[i]) || text[i] == '_')) ++i;
      return i;
    };
    const auto digit_at = [&](size_t i) { return i < text.size() && is_digit(text[i]); };
    size_t end = digits_end(0);
    bool is_float = false;
    if (end < text.size() && text[end] == '.' && digit_at(end + 1)) {
      is_float = true;
      end = digits_end(end + 1);
    }
    if (end < text.size() && (text[end] == 'e' || text[end] == 'E')) {
      const bool has_sign = end + 1 < text.size() && (text[end + 1] == '+' || text[end + 1] == '-');
      if (digit_at(end + 1 + has_sign)) {
        is_float = true;
        end = digits_end(end + 1 + has_sign);
      }
    }
    std::string number(text.substr(0, end));
    std::erase(number, '_');
    add(is_float ? Token::Kind::kFloat : Token::Kind::kInteger, std::move(number));
    advance(end);
  }

  void read_string(char quote) {
    size_t end = 1;
    while (end < rest().size() && rest()[end] != quote) end += rest()[end] == '\\' ? 2 : 1;
    if (end >= rest().size()) fail("a string without its closing {}", quote);
    add(Token::Kind::kString, unescaped(rest().substr(1, end - 1)));
    advance(end + 1);
  }

  // Python's escapes; a backslash before anything else is kept.
  std::string unescaped(std::string_view text) const {
    constexpr std::string_view kLetters = "abfnrtv\\'\"", kMeanings = "\a\b\f\n\r\t\v\\'\"";
    std::string result;
    for (size_t i = 0; i < text.size(); ++i) {
      if (text[i] != '\\') {
        result += text[i];
        continue;
      }
      const char letter = text[++i];
      const size_t found = kLetters.find(letter);
      if (found != std::string_view::npos) {
        result += kMeanings[found];
      } else if (letter == 'x' || letter == 'u' || letter == 'U') {
        const size_t digits = letter == 'x' ? 2 : letter == 'u' ? 4 : 8;
        result += code_point(text.substr(i + 1, digits), digits, 16);
        i += digits;
      } else if (letter >= '0' && letter <= '7') {
        size_t digits = 1;
        while (digits < 3 && i + digits < text.size() && text[i + digits] >= '0' &&
               text[i + digits] <= '7') {
          ++digits;
        }
        result += code_point(text.substr(i, digits), digits, 8);
        i += digits - 1;
      } else if (letter == 'N') {
        fail("'\\N' in a string is not supported");
      } else if (letter != '\n') {
        result += {'\\', letter};
      }
    }
    return result;
  }

  std::string code_point(std::string_view digits, size_t wanted, int base) const {
    unsigned long code = ULONG_MAX;
    const bool only_digits =
        std::ranges::all_of(digits, [](unsigned char c) { return std::isxdigit(c) != 0; });
    if (only_digits && digits.size() == wanted)
      code = std::stoul(std::string(digits), nullptr, base);
    if (code > 0x10FFFF || U_IS_SURROGATE(code)) {
      fail("'{}' after a backslash is not a character", digits);
    }
    return to_utf8(static_cast<char32_t>(code));
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
