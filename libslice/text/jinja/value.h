#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "libslice/text/jinja/meter.h"

namespace slice::detail::jinja {

struct List;
struct Dict;
struct Namespace;
struct Callable;
struct Macro;

/// The value of an unknown name: empty when printed, false when tested, an error otherwise.
struct Undefined {
  std::shared_ptr<const std::string> what = {};  ///< for messages
};
struct None {};

/// A value of the template language, with Python's semantics. Cheap to copy: all content except a
/// namespace's is immutable and shared.
class Value {
 public:
  Value() = default;  ///< undefined
  Value(None none) : held_(none) {}
  Value(bool boolean) : held_(boolean) {}
  Value(int64_t integer) : held_(integer) {}
  Value(double real) : held_(real) {}
  Value(std::string text) : held_(std::make_shared<const std::string>(std::move(text))) {}
  Value(const char* text) : Value(std::string(text)) {}
  Value(Namespace* space) : held_(space) {}
  Value(Callable callable);
  static Value undefined(std::string what);
  /// @throws Failure  nested more than kMaxValueDepth deep
  static Value list(std::vector<Value> items, bool is_tuple = false);
  static Value dict(std::vector<std::pair<std::string, Value>> entries);

  /// Undefined because there was no value, not because of an undefined name.
  bool is_absent() const { return undefined() && !undefined()->what; }
  bool is_none() const { return std::holds_alternative<None>(held_); }
  /// Null when the value is of another kind.
  const Undefined* undefined() const { return std::get_if<Undefined>(&held_); }
  const bool* boolean() const { return std::get_if<bool>(&held_); }
  const int64_t* integer() const { return std::get_if<int64_t>(&held_); }
  const double* real() const { return std::get_if<double>(&held_); }
  const std::string* text() const { return shared<std::string>(); }
  const List* list() const { return shared<List>(); }
  const Dict* dict() const { return shared<Dict>(); }
  const Callable* callable() const { return shared<Callable>(); }
  Namespace* space() const;

  /// A boolean counts as 0 or 1.
  std::optional<int64_t> as_integer() const;
  std::optional<double> as_number() const;
  bool truth() const;
  /// "a string", "a list" …
  const char* kind() const;
  int depth() const;

 private:
  template <typename T>
  const T* shared() const {
    const auto* held = std::get_if<std::shared_ptr<const T>>(&held_);
    return held ? held->get() : nullptr;
  }

  std::variant<Undefined, None, bool, int64_t, double, std::shared_ptr<const std::string>,
               std::shared_ptr<const List>, std::shared_ptr<const Dict>,
               std::shared_ptr<const Callable>, Namespace*>
      held_;
};

struct List {
  std::vector<Value> items;
  bool is_tuple;
  int depth;
};

/// In the order of insertion, as Python's.
struct Dict {
  std::vector<std::pair<std::string, Value>> entries;
  int depth;

  const Value* find(std::string_view key) const;
};

/// The only value that a template can change; the interpreter owns it, so it may contain itself.
struct Namespace {
  std::map<std::string, Value, std::less<>> members;
};

struct Callable {
  std::string name;
  Value receiver = {};           ///< of a method; undefined for a function
  const Macro* macro = nullptr;  ///< a function that the template defines
};

/// Arguments of a call, positional and named.
struct Arguments {
  std::vector<Value> positional = {};
  std::vector<std::pair<std::string, Value>> named = {};

  /// One value for each parameter, absent where none was given.
  /// @throws Failure  too many, an unknown name, or a duplicate
  std::vector<Value> bind(std::string_view function,
                          const std::vector<std::string_view>& parameters) const;
};

/// Python's ==.
bool equal(const Value& left, const Value& right, Meter& meter);

/// The items of a loop: items, keys, or characters; none for undefined.
std::vector<Value> elements(const Value& value, Meter& meter);

/// A text, charged to the meter.
Value new_text(std::string text, Meter& meter);
Value new_list(std::vector<Value> items, Meter& meter, bool is_tuple = false);

/// @throws Failure  the value is undefined (named)
void check_defined(const Value& value);

/// The text itself. @throws Failure  of another kind
const std::string& want_text(const Value& value, std::string_view what);

}  // namespace slice::detail::jinja
