#include "libslice/text/jinja/operators.h"

#include <algorithm>
#include <cmath>

#include "libslice/base/detail/formatted.h"
#include "libslice/text/jinja/print.h"

namespace slice::detail::jinja {
namespace {

[[noreturn]] void refuse(std::string_view sign, const Value& left, const Value& right) {
  check_defined(left);
  check_defined(right);
  throw Failure(detail::formatted("'{}' between {} and {}", sign, left.kind(), right.kind()));
}

[[noreturn]] void refuse_size() { throw Failure("an integer past 64 bits"); }

// Rounded towards minus infinity; the remainder has the divisor's sign.
int64_t floor_quotient(int64_t left, int64_t right) {
  if (right == -1 && left == INT64_MIN) refuse_size();
  return left / right - (left % right != 0 && (left < 0) != (right < 0));
}

double remainder_of(double left, double right) {
  const double rest = std::fmod(left, right);
  if (rest == 0) return std::copysign(0.0, right);
  return (rest < 0) != (right < 0) ? rest + right : rest;
}

Value integer_result(char sign, bool whole, int64_t left, int64_t right) {
  int64_t result = 0;
  bool overflows = false;
  switch (sign) {
    case '+':
      overflows = __builtin_add_overflow(left, right, &result);
      break;
    case '-':
      overflows = __builtin_sub_overflow(left, right, &result);
      break;
    case '*':
      overflows = __builtin_mul_overflow(left, right, &result);
      break;
    default:
      if (right == 0) throw Failure("a division by zero");
      if (sign == '%') return right == -1 ? int64_t{0} : left - floor_quotient(left, right) * right;
      if (whole) return floor_quotient(left, right);
      return static_cast<double>(left) / static_cast<double>(right);
  }
  if (overflows) refuse_size();
  return result;
}

Value real_result(char sign, bool whole, double left, double right) {
  if (sign == '+') return left + right;
  if (sign == '-') return left - right;
  if (sign == '*') return left * right;
  if (right == 0) throw Failure("a division by zero");
  if (sign == '%') return remainder_of(left, right);
  return whole ? std::round((left - remainder_of(left, right)) / right) : left / right;
}

Value repeated(const std::string& text, int64_t count, Meter& meter) {
  std::string result;
  if (text.empty()) return result;
  for (int64_t i = 0; i < count; ++i) {
    meter.charge(text.size());
    result += text;
  }
  return new_text(std::move(result), meter);
}

// Negative, 0 or positive, as left is before, equal to or after right.
int order(std::string_view sign, const Value& left, const Value& right, Meter& meter) {
  if (left.text() && right.text()) {
    meter.charge(std::min(left.text()->size(), right.text()->size()));
    return left.text()->compare(*right.text());
  }
  if (left.as_integer() && right.as_integer()) {
    return *left.as_integer() < *right.as_integer() ? -1 : *left.as_integer() > *right.as_integer();
  }
  if (left.as_number() && right.as_number()) {
    return *left.as_number() < *right.as_number() ? -1 : *left.as_number() > *right.as_number();
  }
  refuse(sign, left, right);
}

bool contains(const Value& whole, const Value& part, Meter& meter) {
  if (whole.text() && part.text()) {
    charge_search(*whole.text(), *part.text(), meter);
    return whole.text()->find(*part.text()) != std::string::npos;
  }
  if (whole.list()) {
    return std::ranges::any_of(whole.list()->items,
                               [&](const Value& item) { return equal(item, part, meter); });
  }
  if (whole.dict()) {
    meter.charge(whole.dict()->entries.size());
    return part.text() && whole.dict()->find(*part.text());
  }
  if (whole.undefined()) return false;
  refuse("in", part, whole);
}

}  // namespace

Value binary(std::string_view sign, const Value& left, const Value& right, Meter& meter) {
  if (sign == "~") return new_text(to_text(left, meter) + to_text(right, meter), meter);
  if (sign == "+" && left.text() && right.text()) {
    return new_text(*left.text() + *right.text(), meter);
  }
  if (sign == "+" && left.list() && right.list() &&
      left.list()->is_tuple == right.list()->is_tuple) {
    std::vector<Value> items = elements(left, meter);
    for (Value& item : elements(right, meter)) items.push_back(std::move(item));
    return new_list(std::move(items), meter, left.list()->is_tuple);
  }
  if (sign == "*" && left.text() && right.as_integer()) {
    return repeated(*left.text(), *right.as_integer(), meter);
  }
  const bool whole = sign == "//";
  if (left.as_integer() && right.as_integer()) {
    return integer_result(sign.front(), whole, *left.as_integer(), *right.as_integer());
  }
  if (left.as_number() && right.as_number()) {
    return real_result(sign.front(), whole, *left.as_number(), *right.as_number());
  }
  refuse(sign, left, right);
}

bool compare(std::string_view sign, const Value& left, const Value& right, Meter& meter) {
  if (sign == "==") return equal(left, right, meter);
  if (sign == "!=") return !equal(left, right, meter);
  if (sign == "in") return contains(right, left, meter);
  if (sign == "not in") return !contains(right, left, meter);
  const int result = order(sign, left, right, meter);
  if (sign == "<") return result < 0;
  if (sign == "<=") return result <= 0;
  if (sign == ">") return result > 0;
  return result >= 0;
}

Value negated(const Value& value) {
  if (value.as_integer()) return integer_result('-', false, 0, *value.as_integer());
  if (value.real()) return -*value.real();
  check_defined(value);
  throw Failure(detail::formatted("a sign before {}", value.kind()));
}

void charge_search(std::string_view text, std::string_view needle, Meter& meter) {
  // Both are at most kMaxOutputBytes, so the product fits.
  meter.charge(text.size() + text.size() * needle.size() / 16);
}

}  // namespace slice::detail::jinja
