#include "libslice/text/jinja/operators.h"

#include <cmath>

#include "libslice/base/detail/formatted.h"
#include "libslice/text/jinja/compare.h"
#include "libslice/text/jinja/markup.h"
#include "libslice/text/jinja/percent.h"
#include "libslice/text/jinja/print.h"

namespace slice::detail::jinja {
namespace {

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

// By repeated squaring: at most 64 products, since a larger power overflows.
Value integer_power(int64_t base, int64_t exponent) {
  if (exponent < 0) {
    if (base == 0) throw Failure("a division by zero");
    return std::pow(static_cast<double>(base), static_cast<double>(exponent));
  }
  int64_t result = 1;
  while (exponent > 0) {
    if (exponent % 2 == 1 && __builtin_mul_overflow(result, base, &result)) refuse_size();
    exponent /= 2;
    if (exponent > 0 && __builtin_mul_overflow(base, base, &base)) refuse_size();
  }
  return result;
}

Value real_power(double base, double exponent) {
  if (base == 0 && exponent < 0) throw Failure("a division by zero");
  if (base < 0 && exponent != std::floor(exponent)) {
    throw Failure("'**' with a complex result is not supported");
  }
  const double result = std::pow(base, exponent);
  if (std::isinf(result) && std::isfinite(base) && std::isfinite(exponent)) {
    throw Failure("'**': the result is too large");
  }
  return result;
}

Value repeated(const Value& value, int64_t count, Meter& meter) {
  if (value.list()) {
    const Sequence type = value.list()->is_tuple() ? Sequence::kTuple : value.list()->type;
    std::vector<Value> items;
    for (int64_t i = 0; i < count && !value.list()->items.empty(); ++i) {
      for (Value& item : elements(value, meter)) items.push_back(std::move(item));
    }
    return new_list(std::move(items), meter, type);
  }
  const std::string& text = *value.text();
  std::string result;
  for (int64_t i = 0; i < count && !text.empty(); ++i) {
    meter.charge(text.size());
    result += text;
  }
  return value.is_markup() ? new_markup(std::move(result), meter)
                           : new_text(std::move(result), meter);
}

bool can_repeat(const Value& value) {
  return value.text() ||
         (value.list() && value.list()->has_places() && value.list()->type != Sequence::kRange);
}

// Texts and sequences; absent for other operands.
Value joined(const Value& left, const Value& right, Meter& meter) {
  if (left.text() && right.text()) {
    if (!left.is_markup() && !right.is_markup()) {
      return new_text(*left.text() + *right.text(), meter);
    }
    return new_markup(escaped(left, meter) + escaped(right, meter), meter);
  }
  const List *one = left.list(), *other = right.list();
  const bool are_alike = one && other && can_repeat(left) &&
                         (one->type == other->type || (one->is_tuple() && other->is_tuple()));
  if (!are_alike) return {};
  std::vector<Value> items = elements(left, meter);
  for (Value& item : elements(right, meter)) items.push_back(std::move(item));
  return new_list(std::move(items), meter, one->is_tuple() ? Sequence::kTuple : one->type);
}

}  // namespace

Value binary(std::string_view sign, const Value& left, const Value& right, Meter& meter) {
  if (sign == "~") return new_text(to_text(left, meter) + to_text(right, meter), meter);
  if (sign == "+") {
    if (Value result = joined(left, right, meter); !result.is_absent()) return result;
  }
  if (sign == "*" && can_repeat(left) && right.as_integer()) {
    return repeated(left, *right.as_integer(), meter);
  }
  if (sign == "*" && can_repeat(right) && left.as_integer()) {
    return repeated(right, *left.as_integer(), meter);
  }
  if (sign == "%" && left.text()) return format_percent(left, right, meter);
  const bool whole = sign == "//", are_integers = left.as_integer() && right.as_integer();
  if (!left.as_number() || !right.as_number()) refuse_operands(sign, left, right);
  if (sign == "**") {
    return are_integers ? integer_power(*left.as_integer(), *right.as_integer())
                        : real_power(*left.as_number(), *right.as_number());
  }
  if (are_integers) {
    return integer_result(sign.front(), whole, *left.as_integer(), *right.as_integer());
  }
  return real_result(sign.front(), whole, *left.as_number(), *right.as_number());
}

Value negated(const Value& value) {
  if (value.as_integer()) return integer_result('-', false, 0, *value.as_integer());
  if (value.real()) return -*value.real();
  check_defined(value);
  throw Failure(detail::formatted("a sign before {}", value.kind()));
}

}  // namespace slice::detail::jinja
