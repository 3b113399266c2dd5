#include "libslice/text/jinja/percent.h"

#include <algorithm>
#include <cmath>

#include "libslice/base/detail/formatted.h"
#include "libslice/base/detail/unicode.h"
#include "libslice/text/jinja/compare.h"
#include "libslice/text/jinja/format_spec.h"
#include "libslice/text/jinja/markup.h"
#include "libslice/text/jinja/print.h"

namespace slice::detail::jinja {
namespace {

class PercentFormat {
 public:
  PercentFormat(const Value& text, const Value& arguments, Meter& meter)
      : rest_(*text.text()), escapes_(text.is_markup()), arguments_(arguments), meter_(meter) {}

  std::string run() {
    std::string out;
    while (true) {
      const size_t mark = rest_.find('%');
      meter_.charge(rest_.substr(0, mark).size());
      out += rest_.substr(0, mark);
      if (mark == std::string_view::npos) break;
      rest_.remove_prefix(mark + 1);
      out += conversion();
    }
    const bool is_tuple = arguments_.list() && arguments_.list()->is_tuple();
    const bool may_be_unused = arguments_.dict() || (arguments_.list() && !is_tuple);
    if (used_ < count() && !may_be_unused) throw Failure("'%': more arguments than conversions");
    return out;
  }

 private:
  size_t count() const {
    const bool is_tuple = arguments_.list() && arguments_.list()->is_tuple();
    return is_tuple ? arguments_.list()->items.size() : 1;
  }

  Value next_argument() {
    if (used_ >= count()) throw Failure("'%': fewer arguments than conversions");
    const bool is_tuple = arguments_.list() && arguments_.list()->is_tuple();
    return is_tuple ? arguments_.list()->items[used_++] : (++used_, arguments_);
  }

  char take() {
    if (rest_.empty()) throw Failure("'%': an incomplete conversion");
    const char c = rest_.front();
    rest_.remove_prefix(1);
    return c;
  }

  std::optional<int64_t> number() {
    if (rest_.starts_with('*')) {
      take();
      return want_integer(next_argument(), "'*' of a conversion");
    }
    if (rest_.empty() || rest_.front() < '0' || rest_.front() > '9') return std::nullopt;
    int64_t value = 0;
    while (!rest_.empty() && rest_.front() >= '0' && rest_.front() <= '9') {
      value = value * 10 + (take() - '0');
      if (value > static_cast<int64_t>(kMaxOutputBytes)) throw Failure("'%': a width too large");
    }
    return value;
  }

  std::optional<Value> named_argument() {
    if (!rest_.starts_with('(')) return std::nullopt;
    const size_t end = rest_.find(')');
    if (end == std::string_view::npos) throw Failure("'%(' without ')'");
    if (!arguments_.dict()) throw Failure("'%(' wants a dict");
    const std::string name(rest_.substr(1, end - 1));
    rest_.remove_prefix(end + 1);
    const Value* found = find_entry(*arguments_.dict(), name, meter_);
    if (!found) throw Failure(detail::formatted("'%': no '{}' in the dict", name));
    return *found;
  }

  std::string conversion() {
    const std::optional<Value> named = named_argument();
    FormatSpec spec;
    bool zeros = false, left = false;
    for (; !rest_.empty() && std::string_view("#0- +").find(rest_.front()) != rest_.npos;) {
      const char flag = take();
      if (flag == '0') zeros = true;
      if (flag == '-') left = true;
      if (flag == '#') spec.alternate = true;
      if (flag == '+' || (flag == ' ' && spec.sign != '+')) spec.sign = flag;
    }
    spec.width = number().value_or(0);
    if (spec.width < 0) left = true, spec.width = -std::max(spec.width, -INT64_MAX);
    if (rest_.starts_with('.')) {
      take();
      spec.precision = std::max<int64_t>(0, number().value_or(0));
    }
    while (!rest_.empty() && std::string_view("hlL").find(rest_.front()) != rest_.npos) take();
    const char type = take();
    if (type == '%') return "%";
    spec.align = left ? '<' : '>';
    const Value value = named ? *named : next_argument();
    return convert(value, type, spec, zeros && !left);
  }

  std::string convert(const Value& value, char type, FormatSpec spec, bool zeros) {
    if (type == 's' || type == 'r') {
      std::string text = type == 'r' ? to_repr(value, meter_) : to_text(value, meter_);
      if (escapes_ && !value.is_markup()) text = escaped_text(text, meter_);
      spec.sign = '-';
      return format_value(text, spec, meter_);
    }
    if (type == 'c') return character(value, spec);
    check_defined(value);
    if (zeros) {
      spec.fill = "0";
      spec.align = '=';
    }
    const bool truncates = type == 'd' || type == 'i' || type == 'u';
    if (truncates || type == 'x' || type == 'X' || type == 'o') {
      spec.type = truncates ? 'd' : type;
      return whole(value, spec, truncates);
    }
    if (std::string_view("eEfFgG").find(type) == std::string_view::npos || !value.as_number()) {
      throw Failure(detail::formatted("'%{}' of {} is not supported", type, value.kind()));
    }
    spec.type = type;
    return format_value(*value.as_number(), spec, meter_);
  }

  std::string whole(const Value& value, FormatSpec spec, bool truncates) {
    Value number = value;
    if (truncates && value.real() && std::abs(*value.real()) < 0x1p63) {
      number = static_cast<int64_t>(*value.real());
    }
    if (!number.as_integer()) {
      throw Failure(detail::formatted("'%{}' of {} is not supported", spec.type, value.kind()));
    }
    if (number.boolean()) number = *number.as_integer();
    const auto digits = std::exchange(spec.precision, std::nullopt);
    if (!digits) return format_value(number, spec, meter_);
    FormatSpec inner = spec;
    inner.fill = "0";
    inner.align = '=';
    inner.width = *digits + (*number.integer() < 0 || spec.sign != '-');
    spec.sign = '-';
    spec.type = '\0';
    spec.fill = " ";
    spec.align = spec.align == '<' ? '<' : '>';
    return format_value(format_value(number, inner, meter_), spec, meter_);
  }

  std::string character(const Value& value, const FormatSpec& spec) {
    if (value.text()) return format_value(value, spec, meter_);
    const int64_t code = want_integer(value, "'%c'");
    if (code < 0 || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) {
      throw Failure(detail::formatted("'%c': {} is not a character", code));
    }
    return format_value(to_utf8(static_cast<char32_t>(code)), spec, meter_);
  }

  std::string_view rest_;
  bool escapes_;
  const Value& arguments_;
  Meter& meter_;
  size_t used_ = 0;
};

}  // namespace

Value format_percent(const Value& text, const Value& arguments, Meter& meter) {
  std::string result = PercentFormat(text, arguments, meter).run();
  return text.is_markup() ? new_markup(std::move(result), meter)
                          : new_text(std::move(result), meter);
}

}  // namespace slice::detail::jinja
