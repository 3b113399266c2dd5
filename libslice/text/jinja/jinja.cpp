#include "libslice/text/jinja/jinja.h"

#include <algorithm>
#include <deque>

#include "libslice/base/detail/check.h"
#include "libslice/text/jinja/access.h"
#include "libslice/text/jinja/filters.h"
#include "libslice/text/jinja/functions.h"
#include "libslice/text/jinja/methods.h"
#include "libslice/text/jinja/operators.h"
#include "libslice/text/jinja/parser.h"
#include "libslice/text/jinja/print.h"

namespace slice::detail::jinja {
namespace {

// Names are those of the template, or of its variables.
struct Scope {
  Scope* parent = nullptr;
  std::map<std::string_view, Value> variables = {};
};

// The effect of a statement on the loop around it.
enum class Flow { kNext, kBreak, kContinue };

class Interpreter {
 public:
  explicit Interpreter(const std::map<std::string, Value>& variables) {
    for (const auto& [name, value] : variables) root_.variables.emplace(name, value);
  }

  std::string run(const Body& body) {
    std::string out;
    execute(body, out);
    return out;
  }

  /// The line of the last node that was visited.
  int line() const { return line_; }

 private:
  using Kind = Expression::Kind;

  // One level deeper: charges the meter and bounds the depth of the stack.
  class Step {
   public:
    Step(Interpreter& interpreter, int line) : interpreter_(interpreter) {
      interpreter_.line_ = line;
      interpreter_.meter_.charge(Meter::kStep);
      if (interpreter_.depth_ == kMaxRunDepth) {
        throw Failure(detail::formatted("nested more than {} deep while it runs", kMaxRunDepth));
      }
      ++interpreter_.depth_;
    }
    ~Step() { --interpreter_.depth_; }
    Step(const Step&) = delete;
    Step& operator=(const Step&) = delete;

   private:
    Interpreter& interpreter_;
  };

  // A new scope inside `parent` for the lifetime of this object.
  class Inner {
   public:
    Inner(Interpreter& interpreter, Scope& parent)
        : interpreter_(interpreter), outer_(interpreter.scope_), scope_{&parent} {
      interpreter_.scope_ = &scope_;
    }
    ~Inner() { interpreter_.scope_ = outer_; }
    Inner(const Inner&) = delete;
    Inner& operator=(const Inner&) = delete;

   private:
    Interpreter& interpreter_;
    Scope* outer_;
    Scope scope_;
  };

  Flow execute(const Body& body, std::string& out);
  Flow run(const Data& data, std::string& out);
  Flow run(const Output& output, std::string& out);
  Flow run(const If& branch, std::string& out);
  Flow run(const For& loop, std::string& out);
  Flow run(const Set& set, std::string& out);
  Flow run(const Macro& macro, std::string& out);
  Flow run(const Generation& generation, std::string& out);
  Flow run(const Break&, std::string&) { return Flow::kBreak; }
  Flow run(const Continue&, std::string&) { return Flow::kContinue; }

  void write(const std::string& text, std::string& out);
  std::vector<Value> loop_items(const For& loop);
  void assign(const Target& target, const Value& value);
  Value look_up(const std::string& name);

  Value evaluate(const Expression& expression);
  Value evaluate_or_absent(const ExpressionPtr& part);
  Value evaluate_unary(const Expression& expression);
  Value evaluate_comparison(const Expression& expression);
  Value evaluate_conditional(const Expression& expression);
  Value evaluate_dict(const Expression& expression);
  std::vector<Value> evaluate_all(const std::vector<ExpressionPtr>& parts);
  Arguments arguments_of(const Expression& call);
  Value call(const Expression& expression);
  Value call_macro(const Macro& macro, const Arguments& arguments);
  Value make_namespace(const Arguments& arguments);

  Meter meter_;
  std::deque<Namespace> namespaces_;
  Scope root_;
  Scope* scope_ = &root_;
  int depth_ = 0, line_ = 0;
};

Flow Interpreter::execute(const Body& body, std::string& out) {
  for (const Statement& statement : body) {
    const Step step(*this, statement.line);
    const Flow flow = std::visit([&](const auto& node) { return run(node, out); }, statement.node);
    if (flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

void Interpreter::write(const std::string& text, std::string& out) {
  meter_.charge(text.size());
  if (out.size() + text.size() > kMaxOutputBytes) {
    throw Failure(detail::formatted("more than {} bytes are written", kMaxOutputBytes));
  }
  out += text;
}

Flow Interpreter::run(const Data& data, std::string& out) {
  write(data.text, out);
  return Flow::kNext;
}

Flow Interpreter::run(const Output& output, std::string& out) {
  write(to_text(evaluate(*output.value), meter_), out);
  return Flow::kNext;
}

Flow Interpreter::run(const If& branch, std::string& out) {
  for (const If::Branch& one : branch.branches) {
    if (evaluate(*one.condition).truth()) return execute(one.body, out);
  }
  return execute(branch.otherwise, out);
}

std::vector<Value> Interpreter::loop_items(const For& loop) {
  std::vector<Value> items = elements(evaluate(*loop.items), meter_);
  if (!loop.condition) return items;
  std::vector<Value> kept;
  for (Value& item : items) {
    const Inner inner(*this, *scope_);
    assign(loop.target, item);
    if (evaluate(*loop.condition).truth()) kept.push_back(std::move(item));
  }
  return kept;
}

Flow Interpreter::run(const For& loop, std::string& out) {
  const std::vector<Value> items = loop_items(loop);
  const int64_t count = std::ssize(items);
  bool reached_end = false;  // of some iteration; if of none, Jinja runs `else`
  for (int64_t i = 0; i < count; ++i) {
    meter_.charge(16 * Meter::kElement);
    const Inner inner(*this, *scope_);
    assign(loop.target, items[i]);
    scope_->variables["loop"] = Value::dict(
        {{"index", i + 1},
         {"index0", i},
         {"revindex", count - i},
         {"revindex0", count - i - 1},
         {"first", i == 0},
         {"last", i + 1 == count},
         {"length", count},
         {"previtem", i > 0 ? items[i - 1] : Value::undefined("'loop.previtem'")},
         {"nextitem", i + 1 < count ? items[i + 1] : Value::undefined("'loop.nextitem'")}});
    const Flow flow = execute(loop.body, out);
    if (flow == Flow::kBreak) break;
    reached_end = reached_end || flow == Flow::kNext;
  }
  return reached_end ? Flow::kNext : execute(loop.otherwise, out);
}

Flow Interpreter::run(const Set& set, std::string&) {
  if (set.value) {
    assign(set.target, evaluate(*set.value));
    return Flow::kNext;
  }
  std::string text;
  {
    const Inner inner(*this, *scope_);
    execute(set.body, text);
  }
  assign(set.target, new_text(std::move(text), meter_));
  return Flow::kNext;
}

Flow Interpreter::run(const Macro& macro, std::string&) {
  // In the outermost scope the body sees what its callers see, and outlives no scope.
  if (scope_ != &root_) throw Failure("a macro inside a loop, block or macro is not supported");
  scope_->variables.insert_or_assign(macro.name, Callable{macro.name, {}, &macro});
  return Flow::kNext;
}

Flow Interpreter::run(const Generation& generation, std::string& out) {
  const Inner inner(*this, *scope_);
  return execute(generation.body, out);
}

void Interpreter::assign(const Target& target, const Value& value) {
  if (!target.member.empty()) {
    Namespace* space = look_up(target.names.front()).space();
    if (!space) {
      throw Failure(detail::formatted("'{}' is not a namespace: cannot set its '{}'",
                                      target.names.front(), target.member));
    }
    space->members.insert_or_assign(target.member, value);
    return;
  }
  if (!target.unpacks) {
    scope_->variables.insert_or_assign(target.names.front(), value);
    return;
  }
  const std::vector<Value> items = elements(value, meter_);
  if (items.size() != target.names.size()) {
    throw Failure(detail::formatted("{} names for {} items", target.names.size(), items.size()));
  }
  for (size_t i = 0; i < items.size(); ++i) {
    scope_->variables.insert_or_assign(target.names[i], items[i]);
  }
}

Value Interpreter::look_up(const std::string& name) {
  for (const Scope* scope = scope_; scope; scope = scope->parent) {
    const auto found = scope->variables.find(name);
    if (found != scope->variables.end()) return found->second;
  }
  if (name == "namespace" || has_function(name)) return Callable{name};
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
      const Value subject = part(0), start = evaluate_or_absent(parts[1]);
      const Value stop = evaluate_or_absent(parts[2]), stride = evaluate_or_absent(parts[3]);
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
      return new_list(evaluate_all(parts), meter_, expression.kind == Kind::kTuple);
    case Kind::kDict:
      return evaluate_dict(expression);
    case Kind::kUnary:
      return evaluate_unary(expression);
    case Kind::kBinary: {
      const Value left = part(0);
      return binary(expression.text, left, part(1), meter_);
    }
    case Kind::kCompare:
      return evaluate_comparison(expression);
    case Kind::kAnd: {
      const Value left = part(0);
      return left.truth() ? part(1) : left;
    }
    case Kind::kOr: {
      const Value left = part(0);
      return left.truth() ? left : part(1);
    }
    case Kind::kConditional:
      return evaluate_conditional(expression);
  }
  return {};
}

Value Interpreter::evaluate_or_absent(const ExpressionPtr& part) {
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
  std::vector<std::pair<std::string, Value>> entries;
  for (size_t i = 0; i < expression.parts.size(); i += 2) {
    const Value key = evaluate(*expression.parts[i]);
    Value value = evaluate(*expression.parts[i + 1]);
    const std::string& name = want_text(key, "a key of a dict");
    meter_.charge(Meter::kElement + entries.size() + name.size());
    const auto found = std::ranges::find(entries, name, &std::pair<std::string, Value>::first);
    if (found != entries.end()) {
      found->second = std::move(value);
    } else {
      entries.emplace_back(name, std::move(value));
    }
  }
  return Value::dict(std::move(entries));
}

std::vector<Value> Interpreter::evaluate_all(const std::vector<ExpressionPtr>& parts) {
  std::vector<Value> values;
  for (const ExpressionPtr& part : parts) values.push_back(evaluate(*part));
  return values;
}

Arguments Interpreter::arguments_of(const Expression& call) {
  Arguments arguments;
  for (size_t i = 0; i < call.labels.size(); ++i) {
    Value value = evaluate(*call.parts[i + 1]);
    if (call.labels[i].empty()) {
      arguments.positional.push_back(std::move(value));
    } else {
      arguments.named.emplace_back(call.labels[i], std::move(value));
    }
  }
  return arguments;
}

Value Interpreter::call(const Expression& expression) {
  const Value callee = evaluate(*expression.parts[0]);
  check_defined(callee);
  const Callable* callable = callee.callable();
  if (!callable) throw Failure(detail::formatted("{} is called", callee.kind()));
  const Arguments arguments = arguments_of(expression);
  line_ = expression.line;
  if (callable->macro) return call_macro(*callable->macro, arguments);
  if (!callable->receiver.undefined()) {
    return call_method(callable->receiver, callable->name, arguments, meter_);
  }
  if (callable->name == "namespace") return make_namespace(arguments);
  return call_function(callable->name, arguments, meter_);
}

Value Interpreter::call_macro(const Macro& macro, const Arguments& arguments) {
  const std::vector<std::string_view> names(macro.parameters.begin(), macro.parameters.end());
  const std::vector<Value> bound = arguments.bind(macro.name, names);
  const Inner inner(*this, root_);
  for (size_t i = 0; i < names.size(); ++i) {
    Value value = bound[i];
    if (value.is_absent()) {
      const ExpressionPtr& absent = macro.defaults[i];
      value = absent ? evaluate(*absent) : Value::undefined(detail::formatted("'{}'", names[i]));
    }
    scope_->variables.insert_or_assign(names[i], std::move(value));
  }
  std::string text;
  execute(macro.body, text);
  return new_text(std::move(text), meter_);
}

Value Interpreter::make_namespace(const Arguments& arguments) {
  meter_.charge(4 * Meter::kElement * (1 + arguments.named.size()));
  Namespace space;
  for (const Value& value : arguments.positional) {
    if (!value.dict()) throw Failure(detail::formatted("namespace() of {}", value.kind()));
    meter_.charge(value.dict()->entries.size() * Meter::kElement);
    for (const auto& [key, item] : value.dict()->entries) space.members.insert_or_assign(key, item);
  }
  for (const auto& [name, value] : arguments.named) space.members.insert_or_assign(name, value);
  return &namespaces_.emplace_back(std::move(space));
}

}  // namespace

std::string render(std::string_view source, const std::string& name,
                   const std::map<std::string, Value>& variables) {
  const Body body = parse_template(source, name);
  Interpreter interpreter(variables);
  try {
    return interpreter.run(body);
  } catch (const Failure& failure) {
    throw FormatError(
        detail::formatted("{}: line {}: {}", name, interpreter.line(), failure.what()));
  }
}

}  // namespace slice::detail::jinja
