
#include <algorithm>
#include <map>

#include "libslice/base/detail/formatted.h"
#include "libslice/text/jinja/compare.h"
#include "libslice/text/jinja/filters.h"
#include "libslice/text/jinja/methods.h"
#include "libslice/text/jinja/objects.h"
#include "libslice/text/jinja/operators.h"
#include "libslice/text/jinja/print.h"

namespace slice::detail::jinja {
namespace {

// Tests of the kind alone.
using KindTest = bool (*)(const Value& value);

bool is_sequence(const Value& value) {
  return value.text() || (value.list() && value.list()->has_places()) || value.dict() ||
         value.undefined();
}

bool is_iterable(const Value& value) {
  return is_sequence(value) || value.list() || value.iterator() || value.loop() ||
         (value.turns() && !value.turns()->joins);
}

bool is_callable(const Value& value) {
  return value.callable() || value.undefined() || value.loop() ||
         (value.turns() && value.turns()->joins);
}

const std::map<std::string_view, KindTest>& kind_tests() {
  static const std::map<std::string_view, KindTest> tests = {
      {"defined", [](const Value& value) { return !value.undefined(); }},
      {"undefined", [](const Value& value) { return value.undefined() != nullptr; }},
      {"none", [](const Value& value) { return value.is_none(); }},
      {"string", [](const Value& value) { return value.text() != nullptr; }},
      {"mapping", [](const Value& value) { return value.dict() != nullptr; }},
      {"iterable", is_iterable},
      {"sequence", is_sequence},
      {"number", [](const Value& value) { return value.as_number().has_value(); }},
      {"integer", [](const Value& value) { return value.integer() != nullptr; }},
      {"float", [](const Value& value) { return value.real() != nullptr; }},
      {"boolean", [](const Value& value) { return value.boolean() != nullptr; }},
      {"true", [](const Value& value) { return value.boolean() && *value.boolean(); }},
      {"false", [](const Value& value) { return value.boolean() && !*value.boolean(); }},
      {"callable", is_callable},
      {"escaped", [](const Value& value) { return value.is_markup(); }},
  };
  return tests;
}

// Tests that are comparisons with their argument.
std::string_view comparison(std::string_view name) {
  static const std::map<std::string_view, std::string_view> signs = {
      {"equalto", "=="}, {"eq", "=="}, {"==", "=="},      {"ne", "!="},
      {"!=", "!="},      {"lt", "<"},  {"lessthan", "<"}, {"<", "<"},
      {"le", "<="},      {"<=", "<="}, {"gt", ">"},       {"greaterthan", ">"},
      {">", ">"},        {"ge", ">="}, {">=", ">="},      {"in", "in"}};
  const auto found = signs.find(name);
  return found == signs.end() ? "" : found->second;
}

// Tests that Python's string methods answer for the printed value.
bool has_case(std::string_view name, const Value& subject, Meter& meter) {
  const Value text = new_text(to_text(subject, meter), meter);
  return call_method(text, name == "lower" ? "islower" : "isupper", {}, meter).truth();
}

}  // namespace

bool has_test(std::string_view name) {
  constexpr std::string_view kOthers[] = {"odd",    "even", "divisibleby", "sameas",
                                          "filter", "test", "lower",       "upper"};
  return kind_tests().contains(name) || !comparison(name).empty() ||
         std::ranges::count(kOthers, name) > 0;
}

bool apply_test(std::string_view name, const Value& subject, const Arguments& arguments,
                Meter& meter) {
  meter.charge(Meter::kStep);
  if (const auto found = kind_tests().find(name); found != kind_tests().end()) {
    arguments.bind(name, {});
    return found->second(subject);
  }
  if (const std::string_view sign = comparison(name); !sign.empty()) {
    return compare(sign, subject, arguments.bind(name, {"other"})[0], meter);
  }
  const auto rest_is = [&](const Value& divisor, int64_t wanted) {
    return equal(binary("%", subject, divisor, meter), wanted, meter);
  };
  if (name == "odd" || name == "even") {
    arguments.bind(name, {});
    return rest_is(int64_t{2}, name == "odd" ? 1 : 0);
  }
  if (name == "sameas") return subject.same_as(arguments.bind(name, {"other"})[0]);
  if (name == "lower" || name == "upper") {
    arguments.bind(name, {});
    return has_case(name, subject, meter);
  }
  if (name == "filter" || name == "test") {
    arguments.bind(name, {});
    const std::string& wanted = want_text(subject, "the name of a filter or test");
    return name == "filter" ? has_filter(wanted) : has_test(wanted);
  }
  if (name == "divisibleby") return rest_is(arguments.bind(name, {"num"})[0], 0);
  throw Failure(detail::formatted("the test '{}' is not supported", name));
}

}  // namespace slice::detail::jinja
