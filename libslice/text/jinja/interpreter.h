#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "libslice/text/jinja/objects.h"
#include "libslice/text/jinja/tree.h"

namespace slice::detail::jinja {

/// Names that a part of a template sees: its own, then its parent's. They are those of the
/// template, or of its variables.
struct Scope : std::enable_shared_from_this<Scope> {
  explicit Scope(std::shared_ptr<Scope> outer) : parent(std::move(outer)) {}

  std::shared_ptr<Scope> parent;
  std::map<std::string_view, Value> variables = {};
};

/// Runs one template once.
class Interpreter {
 public:
  explicit Interpreter(const std::map<std::string, Value>& variables);

  std::string run(const Body& body);

  /// The line of the last node that was visited.
  int line() const { return line_; }

 private:
  using Kind = Expression::Kind;

  // The effect of a statement on the loop around it.
  enum class Flow { kNext, kBreak, kContinue };

  // One level deeper: charges the meter and bounds the depth of the stack.
  class Step {
   public:
    Step(Interpreter& interpreter, int line);
    ~Step() { --interpreter_.depth_; }
    Step(const Step&) = delete;
    Step& operator=(const Step&) = delete;

   private:
    Interpreter& interpreter_;
  };

  // A new scope inside `parent` for the lifetime of this object, and of macros defined in it.
  class Inner {
   public:
    Inner(Interpreter& interpreter, std::shared_ptr<Scope> parent);
    ~Inner() { interpreter_.scope_ = std::move(outer_); }
    Inner(const Inner&) = delete;
    Inner& operator=(const Inner&) = delete;

   private:
    Interpreter& interpreter_;
    std::shared_ptr<Scope> outer_;
  };

  Flow execute(const Body& body, std::string& out);
  Flow run(const Data& data, std::string& out);
  Flow run(const Output& output, std::string& out);
  Flow run(const If& branch, std::string& out);
  Flow run(const For& loop, std::string& out);
  Flow run(const Set& set, std::string& out);
  Flow run(const Macro& macro, std::string& out);
  Flow run(const Call& call, std::string& out);
  Flow run(const FilterBlock& block, std::string& out);
  Flow run(const With& with, std::string& out);
  Flow run(const Block& block, std::string& out);
  Flow run(const Generation& generation, std::string& out);
  Flow run(const Break&, std::string&) { return Flow::kBreak; }
  Flow run(const Continue&, std::string&) { return Flow::kContinue; }

  void write(const std::string& text, std::string& out);
  // The output of a body in a scope of its own.
  Value output_of(const Body& body);
  // A chain of filters on a value.
  Value filtered(const Expression& filter, Value value);
  Flow run_loop(const For& node, const Value& items, int64_t depth, std::string& out);
  Loop& start_loop(const For& node, const Value& items, int64_t depth);
  void assign(const Target& target, const Value& value);
  Value look_up(const std::string& name);

  Value evaluate(const Expression& expression);
  Value evaluate_operation(const Expression& expression);
  Value evaluate_or_none(const ExpressionPtr& part);
  Value evaluate_unary(const Expression& expression);
  Value evaluate_comparison(const Expression& expression);
  Value evaluate_conditional(const Expression& expression);
  Value evaluate_dict(const Expression& expression);
  std::vector<Value> evaluate_all(const std::vector<ExpressionPtr>& parts);

  Arguments arguments_of(const Expression& call);
  void add_arguments(const Value& value, bool are_named, Arguments& arguments);
  Value call(const Expression& expression, const Value* caller = nullptr);
  Value call_value(const Value& callee, const Arguments& arguments);
  Value call_macro(const Callable& callable, Arguments arguments);
  void bind_parameters(const Macro& macro, Arguments& arguments);
  Value make_macro(const Macro& macro);
  Value make_namespace(const Arguments& arguments);

  Meter meter_;
  std::deque<Namespace> namespaces_;
  std::deque<Loop> loops_;
  std::shared_ptr<Scope> root_, scope_;
  std::vector<std::shared_ptr<Scope>> of_macros_;  // scopes that a macro may see later
  const Value* hole_ = nullptr;                    // what a chain of filters is applied to
  int depth_ = 0, line_ = 0;
};

}  // namespace slice::detail::jinja
