#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "libslice/text/jinja/value.h"

namespace slice::detail::jinja {

struct Macro;
struct Scope;

/// A Python generator: its items are made when the first is asked for, and each is given once.
struct Iterator {
  std::function<std::vector<Value>()> make;
  int depth;
  std::vector<Value> items = {};
  size_t next = 0;

  /// All that are left.
  std::vector<Value> take();
  /// Absent when none is left.
  Value take_one();

 private:
  void fill();
};

Value new_iterator(std::function<std::vector<Value>()> make, int depth, Meter& meter);

/// What Jinja's `cycler` and `joiner` return.
struct Turns {
  bool joins;                ///< joiner: nothing the first time, then its one item
  std::vector<Value> items;  ///< cycler: these in turn
  int depth;
  size_t calls = 0;
};

/// A value that a template can change; the interpreter owns it, so it may contain itself.
struct Namespace {
  std::map<std::string, Value, std::less<>> members;
};

/// @throws Failure  a member that begins with _, which Transformers refuses
void check_member(std::string_view name);

/// `loop`: the state of a loop; the interpreter owns it.
struct Loop {
  std::function<bool()> pull;                      ///< one more of `items`; false at the end
  std::function<Value(const Value& items)> recur;  ///< of a recursive loop: its body on other items
  int64_t depth = 0;
  std::vector<Value> items = {};  ///< those that the loop has come to or looked ahead at
  size_t index = 0;
  std::optional<std::vector<Value>> seen = {};  ///< of `changed`
};

struct Callable {
  std::string name;
  Value receiver = {};           ///< of a method; undefined for a function
  const Macro* macro = nullptr;  ///< a function that the template defines
  Scope* scope = nullptr;        ///< … and where it does; the interpreter keeps it alive
};

}  // namespace slice::detail::jinja
