#include <algorithm>

#include "libslice/base/detail/formatted.h"
#include "libslice/text/jinja/compare.h"
#include "libslice/text/jinja/interpreter.h"
#include "libslice/text/jinja/print.h"

namespace slice::detail::jinja {

Interpreter::Interpreter(const std::map<std::string, Value>& variables)
    : root_(std::make_shared<Scope>(nullptr)), scope_(root_) {
  for (const auto& [name, value] : variables) root_->variables.emplace(name, value);
}

std::string Interpreter::run(const Body& body) {
  std::string out;
  execute(body, out);
  return out;
}

Interpreter::Step::Step(Interpreter& interpreter, int line) : interpreter_(interpreter) {
  interpreter_.line_ = line;
  interpreter_.meter_.charge(Meter::kStep);
  if (interpreter_.depth_ == kMaxRunDepth) {
    throw Failure(detail::formatted("nested more than {} deep while it runs", kMaxRunDepth));
  }
  ++interpreter_.depth_;
}

Interpreter::Inner::Inner(Interpreter& interpreter, std::shared_ptr<Scope> parent)
    : interpreter_(interpreter), outer_(interpreter.scope_) {
  interpreter_.meter_.charge(4 * Meter::kElement);
  interpreter_.scope_ = std::make_shared<Scope>(std::move(parent));
}

Interpreter::Flow Interpreter::execute(const Body& body, std::string& out) {
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

Value Interpreter::output_of(const Body& body) {
  const Inner inner(*this, scope_);
  std::string text;
  execute(body, text);
  return new_text(std::move(text), meter_);
}

Value Interpreter::filtered(const Expression& filter, Value value) {
  const Value* outer = std::exchange(hole_, &value);
  Value result = evaluate(filter);
  hole_ = outer;
  return result;
}

Interpreter::Flow Interpreter::run(const Data& data, std::string& out) {
  write(data.text, out);
  return Flow::kNext;
}

Interpreter::Flow Interpreter::run(const Output& output, std::string& out) {
  write(to_text(evaluate(*output.value), meter_), out);
  return Flow::kNext;
}

Interpreter::Flow Interpreter::run(const If& branch, std::string& out) {
  for (const If::Branch& one : branch.branches) {
    if (evaluate(*one.condition).truth()) return execute(one.body, out);
  }
  return execute(branch.otherwise, out);
}

Interpreter::Flow Interpreter::run(const For& loop, std::string& out) {
  return run_loop(loop, evaluate(*loop.items), 0, out);
}

// The state of a loop. An item is looked at when the loop comes to it or is asked what follows, so
// that a condition sees what the body has changed.
Loop& Interpreter::start_loop(const For& node, const Value& items, int64_t depth) {
  meter_.charge(4 * Meter::kElement);
  Loop& loop = loops_.emplace_back();
  loop.depth = depth;
  const auto left =
      std::make_shared<Iterator>(Iterator{{}, items.depth(), elements(items, meter_)});
  loop.pull = [this, &node, &loop, left, outer = scope_] {
    while (true) {
      const bool any = left->next < left->items.size();
      if (!any) return false;
      Value item = left->items[left->next++];
      if (node.condition) {
        const Inner inner(*this, outer);
        assign(node.target, item);
        if (!evaluate(*node.condition).truth()) continue;
      }
      loop.items.push_back(std::move(item));
      return true;
    }
  };
  if (node.recursive) {
    loop.recur = [this, &node, outer = scope_, depth](const Value& others) {
      const Inner inner(*this, outer);
      std::string text;
      run_loop(node, others, depth + 1, text);
      return new_text(std::move(text), meter_);
    };
  }
  return loop;
}

Interpreter::Flow Interpreter::run_loop(const For& node, const Value& items, int64_t depth,
                                        std::string& out) {
  Loop& loop = start_loop(node, items, depth);
  bool reached_end = false;  // of some iteration; if of none, Jinja runs `else`
  for (; loop.index < loop.items.size() || loop.pull(); ++loop.index) {
    const Inner inner(*this, scope_);
    assign(node.target, loop.items[loop.index]);
    scope_->variables.insert_or_assign("loop", &loop);
    const Flow flow = execute(node.body, out);
    if (flow == Flow::kBreak) break;
    reached_end = reached_end || flow == Flow::kNext;
  }
  loop.pull = [] { return false; };  // which holds the scope around it
  if (reached_end) return Flow::kNext;
  const Inner inner(*this, scope_);
  return execute(node.otherwise, out);
}

Interpreter::Flow Interpreter::run(const Set& set, std::string&) {
  if (set.value) {
    assign(set.target, evaluate(*set.value));
    return Flow::kNext;
  }
  Value text = output_of(set.body);
  assign(set.target, set.filter ? filtered(*set.filter, std::move(text)) : text);
  return Flow::kNext;
}

Interpreter::Flow Interpreter::run(const Macro& macro, std::string&) {
  scope_->variables.insert_or_assign(macro.name, make_macro(macro));
  return Flow::kNext;
}

Interpreter::Flow Interpreter::run(const Call& node, std::string& out) {
  const Value caller = make_macro(node.caller);
  write(to_text(call(*node.call, &caller), meter_), out);
  return Flow::kNext;
}

Interpreter::Flow Interpreter::run(const FilterBlock& block, std::string& out) {
  write(to_text(filtered(*block.filter, output_of(block.body)), meter_), out);
  return Flow::kNext;
}

Interpreter::Flow Interpreter::run(const With& with, std::string& out) {
  const std::vector<Value> values = evaluate_all(with.values);
  const Inner inner(*this, scope_);
  for (size_t i = 0; i < values.size(); ++i) assign(with.targets[i], values[i]);
  return execute(with.body, out);
}

Interpreter::Flow Interpreter::run(const Block& block, std::string& out) {
  const Inner inner(*this, block.sees_loops ? scope_ : root_);
  return execute(block.body, out);
}

Interpreter::Flow Interpreter::run(const Generation& generation, std::string& out) {
  const Inner inner(*this, scope_);
  return execute(generation.body, out);
}

void Interpreter::assign(const Target& target, const Value& value) {
  if (!target.member.empty()) {
    Namespace* space = look_up(target.name).space();
    if (!space) {
      throw Failure(detail::formatted("'{}' is not a namespace: cannot set its '{}'", target.name,
                                      target.member));
    }
    check_member(target.member);
    space->members.insert_or_assign(target.member, value);
    return;
  }
  if (!target.unpacks) {
    scope_->variables.insert_or_assign(target.name, value);
    return;
  }
  const std::vector<Value> items = elements(value, meter_);
  if (items.size() != target.parts.size()) {
    throw Failure(detail::formatted("{} names for {} items", target.parts.size(), items.size()));
  }
  for (size_t i = 0; i < items.size(); ++i) assign(target.parts[i], items[i]);
}

}  // namespace slice::detail::jinja
