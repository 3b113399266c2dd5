#include "libslice/base/detail/formatted.h"
#include "libslice/text/jinja/access.h"
#include "libslice/text/jinja/compare.h"
#include "libslice/text/jinja/filters.h"
#include "libslice/text/jinja/functions.h"
#include "libslice/text/jinja/interpreter.h"
#include "libslice/text/jinja/operators.h"

namespace slice::detail::jinja {

Value Interpreter::look_up(const std::string& name) {
  for (const Scope* scope = scope_.get(); scope; scope = scope->parent.get()) {
    meter_.charge(Meter::kScope);  // as many as there are loops around this
    const auto found = scope->variables.find(name);
    if (found != scope->variables.end()) return found->second;
  }
  if (name == "namespace" || has_function(name)) return Callable{name};
  if (name == "lipsum" || name == "self") {
    throw Failure(detail::formatted("'{}' is not supported", name));
  }
  return Value::undefined(detail::formatted("'{}'", name));
}

Value Interpreter::evaluate(const Expression& expression) {
  const Step step(*this, expression.line);
  const auto& parts = expression.parts;
  const auto part = [&](size_t i) { return evaluate(*parts[i]); };
  switch (expression.kind) {
    case Kind::kConstant:
      return expression.value;
    case Kind::kName:
      return look_up(expression.text);
    case Kind::kAttribute:
      return get_attribute(part(0), expression.text, meter_);
    case Kind::kSubscript: {
      const Value subject = part(0);
      return get_item(subject, part(1), meter_);
    }
    case Kind::kSlice: {
      const Value subject = part(0), start = evaluate_or_none(parts[1]);
      const Value stop = evaluate_or_none(parts[2]), stride = evaluate_or_none(parts[3]);
      return get_slice(subject, start, stop, stride, meter_);
    }
    case Kind::kCall:
      return call(expression);
    case Kind::kFilter: {
      const Value subject = part(0);
      return apply_filter(expression.text, subject, arguments_of(expression), meter_);
    }
    case Kind::kTest: {
      const Value subject = part(0);
      return apply_test(expression.text, subject, arguments_of(expression), meter_);
    }
    case Kind::kList:
    case Kind::kTuple:
      return new_list(evaluate_all(parts), meter_,
                      expression.kind == Kind::kTuple ? Sequence::kTuple : Sequence::kList);
    case Kind::kDict:
      return evaluate_dict(expression);
    case Kind::kHole:
      return *hole_;
    default:
      return evaluate_operation(expression);
  }
}

Value Interpreter::evaluate_operation(const Expression& expression) {
  const auto part = [&](size_t i) { return evaluate(*expression.parts[i]); };
  if (expression.kind == Kind::kUnary) return evaluate_unary(expression);
  if (expression.kind == Kind::kCompare) return evaluate_comparison(expression);
  if (expression.kind == Kind::kConditional) return evaluate_conditional(expression);
  const Value left = part(0);
  if (expression.kind == Kind::kBinary) return binary(expression.text, left, part(1), meter_);
  return left.truth() == (expression.kind == Kind::kAnd) ? part(1) : left;
}

Value Interpreter::evaluate_or_none(const ExpressionPtr& part) {
  return part ? evaluate(*part) : Value(None());
}

Value Interpreter::evaluate_unary(const Expression& expression) {
  const Value value = evaluate(*expression.parts[0]);
  if (expression.text == "not") return !value.truth();
  const Value opposite = negated(value);
  return expression.text == "-" ? opposite : negated(opposite);
}

Value Interpreter::evaluate_comparison(const Expression& expression) {
  Value left = evaluate(*expression.parts[0]);
  for (size_t i = 0; i < expression.labels.size(); ++i) {
    Value right = evaluate(*expression.parts[i + 1]);
    if (!compare(expression.labels[i], left, right, meter_)) return false;
    left = std::move(right);
  }
  return true;
}

Value Interpreter::evaluate_conditional(const Expression& expression) {
  if (evaluate(*expression.parts[0]).truth()) return evaluate(*expression.parts[1]);
  if (expression.parts[2]) return evaluate(*expression.parts[2]);
  return Value::undefined("an inline 'if' without 'else', which was false,");
}

Value Interpreter::evaluate_dict(const Expression& expression) {
  std::vector<std::pair<Value, Value>> entries;
  for (size_t i = 0; i < expression.parts.size(); i += 2) {
    const Value key = evaluate(*expression.parts[i]);
    put_entry(entries, key, evaluate(*expression.parts[i + 1]), meter_);
  }
  return Value::mapping(std::move(entries));
}

std::vector<Value> Interpreter::evaluate_all(const std::vector<ExpressionPtr>& parts) {
  std::vector<Value> values;
  for (const ExpressionPtr& part : parts) values.push_back(evaluate(*part));
  return values;
}

}  // namespace slice::detail::jinja
