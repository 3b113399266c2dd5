#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "libslice/text/jinja/value.h"

namespace slice::detail::jinja {

struct Expression;
using ExpressionPtr = std::unique_ptr<const Expression>;

struct Expression {
  enum class Kind {
    kConstant,     ///< value
    kName,         ///< text
    kAttribute,    ///< parts[0].text
    kSubscript,    ///< parts[0][parts[1]]
    kSlice,        ///< parts[0][parts[1]:parts[2]:parts[3]], the last three may be null
    kCall,         ///< parts[0](the other parts)
    kFilter,       ///< parts[0] | text(the other parts)
    kTest,         ///< parts[0] is text(the other parts)
    kList,         ///< [parts]
    kTuple,        ///< (parts)
    kDict,         ///< {parts[0]: parts[1], …}
    kUnary,        ///< text is "not", "-" or "+"
    kBinary,       ///< parts[0] text parts[1]
    kCompare,      ///< parts[0] labels[0] parts[1] labels[1] parts[2] …
    kAnd,          ///< parts[0] and parts[1]
    kOr,           ///< parts[0] or parts[1]
    kConditional,  ///< parts[1] if parts[0] else parts[2], which may be null
    kHole,         ///< what a filter without a subject is applied to
  };
  Kind kind;
  int line;
  int depth = 1;
  std::string text = {};
  Value value = {};
  std::vector<ExpressionPtr> parts = {};
  /// kCall, kFilter, kTest: for each argument its name, empty for one without, "*" or "**" for a
  /// list or dict of them.
  std::vector<std::string> labels = {};
};

struct Statement;
using Body = std::vector<Statement>;

/// What a loop or a `set` assigns to: a name, a member of a namespace, or several of these.
struct Target {
  std::string name = {}, member = {};
  bool unpacks = false;
  std::vector<Target> parts = {};
};

struct Data {
  std::string text;
};
struct Output {
  ExpressionPtr value;
};
struct If {
  struct Branch {
    ExpressionPtr condition;
    Body body;
  };
  std::vector<Branch> branches;
  Body otherwise;
};
struct For {
  Target target;
  ExpressionPtr items, condition;  ///< the condition may be null
  bool recursive = false;
  Body body, otherwise;
};
struct Set {
  Target target;
  ExpressionPtr value;  ///< null: the output of the body
  Body body;
  ExpressionPtr filter;  ///< of that output, which is its kHole; may be null
};
struct Macro {
  std::string name;
  std::vector<std::string> parameters;
  std::vector<ExpressionPtr> defaults;  ///< null for a parameter without one
  Body body;
  /// The body uses `varargs`, `kwargs`, `caller`, so that a call may give them.
  bool takes_more = false, takes_named = false, takes_caller = false;
};
/// A call of a macro that is given another, as its `caller`.
struct Call {
  Macro caller;
  ExpressionPtr call;
};
/// The output of a body through filters.
struct FilterBlock {
  ExpressionPtr filter;  ///< of the output, which is its kHole
  Body body;
};
struct With {
  std::vector<Target> targets;
  std::vector<ExpressionPtr> values;
  Body body;
};
/// A part that a template in another file could replace; here its body.
struct Block {
  bool sees_loops;  ///< `scoped`
  Body body;
};
/// The part of a conversation that the model wrote: a mark for training, without effect here.
struct Generation {
  Body body;
};
struct Break {};
struct Continue {};

struct Statement {
  int line;
  std::variant<Data, Output, If, For, Set, Macro, Call, FilterBlock, With, Block, Generation, Break,
               Continue>
      node;
};

}  // namespace slice::detail::jinja
