#pragma once

#include <array>
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
struct Iterator;
struct Turns;
struct Namespace;
struct Loop;
struct Callable;

/// The value of an unknown name: empty when printed, false when tested, an error otherwise.
struct Undefined {
  std::shared_ptr<const std::string> what = {};  ///< for messages
};
struct None {};
/// A text in which HTML is escaped: what joins it is escaped too (markupsafe's Markup).
struct Markup {
  std::string text;
};
/// Python's types of sequences. A group is the tuple of `groupby`; the views are those of a dict.
enum class Sequence { kList, kTuple, kGroup, kRange, kBytes, kKeys, kValues, kItems };

/// A value of the template language, with Python's semantics. Cheap to copy: content is shared, and
/// immutable but for namespaces, loops, iterators and turns.
class Value {
 public:
  Value() = default;  ///< undefined
  Value(None none) : held_(none) {}
  Value(bool boolean) : held_(boolean) {}
  Value(int64_t integer) : held_(integer) {}
  Value(double real) : held_(real) {}
  Value(std::string text) : held_(std::make_shared<const std::string>(std::move(text))) {}
  Value(const char* text) : Value(std::string(text)) {}
  Value(Markup markup) : held_(std::make_shared<const Markup>(std::move(markup))) {}
  Value(Namespace* space) : held_(space) {}
  Value(Loop* loop) : held_(loop) {}
  Value(Callable callable);
  Value(Iterator iterator);
  Value(Turns turns);
  Value(List list);
  static Value undefined(std::string what);
  /// @throws Failure  nested more than kMaxValueDepth deep
  static Value list(std::vector<Value> items, Sequence type = Sequence::kList);
  static Value dict(std::vector<std::pair<std::string, Value>> entries);
  /// A dict whose keys are any values; they must differ.
  static Value mapping(std::vector<std::pair<Value, Value>> entries);

  /// Undefined because there was no value, not because of an undefined name.
  bool is_absent() const { return undefined() && !undefined()->what; }
  bool is_none() const { return std::holds_alternative<None>(held_); }
  bool is_markup() const { return shared<Markup>() != nullptr; }
  /// Null when the value is of another kind.
  const Undefined* undefined() const { return std::get_if<Undefined>(&held_); }
  const bool* boolean() const { return std::get_if<bool>(&held_); }
  const int64_t* integer() const { return std::get_if<int64_t>(&held_); }
  const double* real() const { return std::get_if<double>(&held_); }
  const std::string* text() const;
  const List* list() const { return shared<List>(); }
  const Dict* dict() const { return shared<Dict>(); }
  const Callable* callable() const { return shared<Callable>(); }
  Iterator* iterator() const { return held_by<std::shared_ptr<Iterator>>(); }
  Turns* turns() const { return held_by<std::shared_ptr<Turns>>(); }
  Namespace* space() const;
  Loop* loop() const;

  /// A boolean counts as 0 or 1.
  std::optional<int64_t> as_integer() const;
  std::optional<double> as_number() const;
  bool truth() const;
  /// Python's `is`: of texts and numbers, the same type and content.
  bool same_as(const Value& other) const;
  /// "a string", "a list" …
  const char* kind() const;
  int depth() const;

 private:
  template <typename T>
  const T* shared() const {
    const auto* held = std::get_if<std::shared_ptr<const T>>(&held_);
    return held ? held->get() : nullptr;
  }
  template <typename Pointer>
  typename Pointer::element_type* held_by() const {
    const auto* held = std::get_if<Pointer>(&held_);
    return held ? held->get() : nullptr;
  }

  std::variant<Undefined, None, bool, int64_t, double, std::shared_ptr<const std::string>,
               std::shared_ptr<const Markup>, std::shared_ptr<const List>,
               std::shared_ptr<const Dict>, std::shared_ptr<const Callable>,
               std::shared_ptr<Iterator>, std::shared_ptr<Turns>, Namespace*, Loop*>
      held_;
};

struct List {
  std::vector<Value> items;
  Sequence type;
  int depth = 0;
  std::array<int64_t, 3> range = {};  ///< kRange: start, stop, step

  bool is_tuple() const { return type == Sequence::kTuple || type == Sequence::kGroup; }
  /// False for the views of a dict, which only loops read.
  bool has_places() const { return type < Sequence::kKeys; }
};

/// In the order of insertion, as Python's.
struct Dict {
  std::vector<std::pair<Value, Value>> entries;
  int depth;

  const Value* find(std::string_view key) const;
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

/// @throws Failure  the value is undefined (named)
void check_defined(const Value& value);

/// The text itself. @throws Failure  of another kind
const std::string& want_text(const Value& value, std::string_view what);

/// The integer itself, or `absent` for an argument that was left out.
/// @throws Failure  of another kind
int64_t want_integer(const Value& value, std::string_view what,
                     std::optional<int64_t> absent = std::nullopt);

/// A text, charged to the meter.
Value new_text(std::string text, Meter& meter);
Value new_markup(std::string text, Meter& meter);
Value new_list(std::vector<Value> items, Meter& meter, Sequence type = Sequence::kList);

}  // namespace slice::detail::jinja
