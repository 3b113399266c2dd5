
#include <map>

#include "libslice/base/detail/formatted.h"
#include "libslice/text/jinja/filters.h"
#include "libslice/text/jinja/operators.h"

namespace slice::detail::jinja {
namespace {

// Tests of the kind alone.
using KindTest = bool (*)(const Value& value);

bool is_iterable(const Value& value) {
  return value.text() || value.list() || value.dict() || value.undefined();
}

const std::map<std::string_view, KindTest>& kind_tests() {
  static const std::map<std::string_view, KindTest> tests = {
      {"defined", [](const Value& value) { return !value.undefined(); }},
      {"undefined", [](const Value& value) { return value.undefined() != nullptr; }},
      {"none", [](const Value& value) { return value.is_none(); }},
      {"string", [](const Value& value) { return value.text() != nullptr; }},
      {"mapping", [](const Value& value) { return value.dict() != nullptr; }},
      {"iterable", is_iterable},
      {"sequence", is_iterable},
      {"number", [](const Value& value) { return value.as_number().has_value(); }},
      {"integer", [](const Value& value) { return value.integer() != nullptr; }},
      {"float", [](const Value& value) { return value.real() != nullptr; }},
      {"boolean", [](const Value& value) { return value.boolean() != nullptr; }},
      {"true", [](const Value& value) { return value.boolean() && *value.boolean(); }},
      {"false", [](const Value& value) { return value.boolean() && !*value.boolean(); }},
      {"callable", [](const Value& value) { return value.callable() != nullptr; }},
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

}  // namespace

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
  if (name == "divisibleby") return rest_is(arguments.bind(name, {"num"})[0], 0);
  throw Failure(detail::formatted("the test '{}' is not supported", name));
}

}  // namespace slice::detail::jinja
