#include <algorithm>

#include "libslice/base/detail/formatted.h"
#include "libslice/text/jinja/compare.h"
#include "libslice/text/jinja/functions.h"
#include "libslice/text/jinja/interpreter.h"
#include "libslice/text/jinja/methods.h"

namespace slice::detail::jinja {
namespace {

// Takes a named argument out; absent when it was not given.
Value take_named(Arguments& arguments, std::string_view name) {
  const auto found =
      std::ranges::find(arguments.named, name, &std::pair<std::string, Value>::first);
  if (found == arguments.named.end()) return {};
  Value value = std::move(found->second);
  arguments.named.erase(found);
  return value;
}

}  // namespace

Arguments Interpreter::arguments_of(const Expression& call) {
  Arguments arguments;
  for (size_t i = 0; i < call.labels.size(); ++i) {
    const std::string& label = call.labels[i];
    Value value = evaluate(*call.parts[i + 1]);
    if (label == "*" || label == "**") {
      add_arguments(value, label == "**", arguments);
    } else if (label.empty()) {
      arguments.positional.push_back(std::move(value));
    } else {
      arguments.named.emplace_back(label, std::move(value));
    }
  }
  return arguments;
}

void Interpreter::add_arguments(const Value& value, bool are_named, Arguments& arguments) {
  if (!are_named) {
    for (Value& item : elements(value, meter_)) arguments.positional.push_back(std::move(item));
    return;
  }
  if (!value.dict()) throw Failure(detail::formatted("'**' before {}", value.kind()));
  meter_.charge(value.dict()->entries.size() * Meter::kElement);
  for (const auto& [key, item] : value.dict()->entries) {
    arguments.named.emplace_back(want_text(key, "the name of an argument"), item);
  }
}

Value Interpreter::call(const Expression& expression, const Value* caller) {
  const Value callee = evaluate(*expression.parts[0]);
  check_defined(callee);
  Arguments arguments = arguments_of(expression);
  if (caller) arguments.named.emplace_back("caller", *caller);
  line_ = expression.line;
  return call_value(callee, arguments);
}

Value Interpreter::call_value(const Value& callee, const Arguments& arguments) {
  if (callee.loop()) {
    const auto bound = arguments.bind("loop", {"iterable"});
    if (!callee.loop()->recur) throw Failure("'loop' of a loop that is not recursive is called");
    return callee.loop()->recur(bound[0]);
  }
  if (callee.turns() && callee.turns()->joins) {
    arguments.bind("joiner", {});
    return callee.turns()->calls++ == 0 ? Value("") : callee.turns()->items[0];
  }
  const Callable* callable = callee.callable();
  if (!callable) throw Failure(detail::formatted("{} is called", callee.kind()));
  if (callable->macro) return call_macro(*callable, arguments);
  if (!callable->receiver.undefined()) {
    return call_method(callable->receiver, callable->name, arguments, meter_);
  }
  if (callable->name == "namespace") return make_namespace(arguments);
  return call_function(callable->name, arguments, meter_);
}

Value Interpreter::make_macro(const Macro& macro) {
  if (scope_ != root_ && (of_macros_.empty() || of_macros_.back() != scope_)) {
    meter_.charge(4 * Meter::kElement);
    of_macros_.push_back(scope_);
  }
  return Callable{macro.name, {}, &macro, scope_.get()};
}

Value Interpreter::call_macro(const Callable& callable, Arguments arguments) {
  const Inner inner(*this, callable.scope->shared_from_this());
  bind_parameters(*callable.macro, arguments);
  std::string text;
  execute(callable.macro->body, text);
  return new_text(std::move(text), meter_);
}

// Parameters, then `caller`, `kwargs` and `varargs` for what is left, where the body uses them.
void Interpreter::bind_parameters(const Macro& macro, Arguments& arguments) {
  const auto set = [&](std::string_view name, Value value) {
    scope_->variables.insert_or_assign(name, std::move(value));
  };
  const size_t count = macro.parameters.size();
  const size_t given = std::min(count, arguments.positional.size());
  std::vector<Value> values(arguments.positional.begin(),
                            arguments.positional.begin() + static_cast<std::ptrdiff_t>(given));
  for (size_t i = given; i < count; ++i) {
    values.push_back(take_named(arguments, macro.parameters[i]));
  }
  if (macro.takes_caller && std::ranges::count(macro.parameters, "caller") == 0) {
    const Value caller = take_named(arguments, "caller");
    set("caller", caller.is_absent() ? Value::undefined("'caller'") : caller);
  }
  if (macro.takes_named) {
    set("kwargs", Value::dict(arguments.named));
  } else if (!arguments.named.empty()) {
    throw Failure(detail::formatted("{}() takes no argument '{}'", macro.name,
                                    arguments.named.front().first));
  }
  std::vector<Value> more(arguments.positional.begin() + static_cast<std::ptrdiff_t>(given),
                          arguments.positional.end());
  if (!macro.takes_more && !more.empty()) {
    throw Failure(detail::formatted("{}() takes at most {} arguments, got {}", macro.name, count,
                                    arguments.positional.size()));
  }
  if (macro.takes_more) set("varargs", new_list(std::move(more), meter_, Sequence::kTuple));
  for (size_t i = 0; i < count; ++i) {
    const std::string& name = macro.parameters[i];
    if (values[i].is_absent()) {
      values[i] = macro.defaults[i] ? evaluate(*macro.defaults[i])
                                    : Value::undefined(detail::formatted("'{}'", name));
    }
    set(name, values[i]);
  }
}

Value Interpreter::make_namespace(const Arguments& arguments) {
  meter_.charge(4 * Meter::kElement * (1 + arguments.named.size()));
  Namespace space;
  const Value members = call_function("dict", arguments, meter_);
  for (const auto& [key, item] : members.dict()->entries) {
    const std::string& name = want_text(key, "the name of a member");
    check_member(name);
    space.members.insert_or_assign(name, item);
  }
  return &namespaces_.emplace_back(std::move(space));
}

}  // namespace slice::detail::jinja
