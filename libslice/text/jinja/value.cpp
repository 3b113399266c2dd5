#include "libslice/text/jinja/value.h"

#include <algorithm>

#include "libslice/base/detail/formatted.h"
#include "libslice/text/jinja/objects.h"

namespace slice::detail::jinja {
namespace {

int checked_depth(int depth) {
  if (depth > kMaxValueDepth) {
    throw Failure(detail::formatted("lists or dicts nested more than {} deep", kMaxValueDepth));
  }
  return depth;
}

int depth_of(const std::vector<Value>& items) {
  int depth = 0;
  for (const Value& item : items) depth = std::max(depth, item.depth());
  return depth;
}

const char* kind_of(Sequence type) {
  constexpr const char* kKinds[] = {"a list", "a list",      "a list",      "a range",
                                    "bytes",  "a dict view", "a dict view", "a dict view"};
  return kKinds[static_cast<size_t>(type)];
}

void check_size(const std::string& text) {
  if (text.size() > kMaxOutputBytes) {
    throw Failure(detail::formatted("a string of more than {} bytes", kMaxOutputBytes));
  }
}

}  // namespace

Value::Value(Callable callable) : held_(std::make_shared<const Callable>(std::move(callable))) {
  checked_depth(depth());
}

Value::Value(Iterator iterator) : held_(std::make_shared<Iterator>(std::move(iterator))) {
  checked_depth(depth());
}

Value::Value(Turns turns) {
  turns.depth = checked_depth(depth_of(turns.items) + 1);
  held_ = std::make_shared<Turns>(std::move(turns));
}

Value::Value(List list) {
  list.depth = checked_depth(depth_of(list.items) + 1);
  held_ = std::make_shared<const List>(std::move(list));
}

Value Value::undefined(std::string what) {
  Value value;
  value.held_ = Undefined{std::make_shared<const std::string>(std::move(what))};
  return value;
}

Value Value::list(std::vector<Value> items, Sequence type) { return List{std::move(items), type}; }

Value Value::dict(std::vector<std::pair<std::string, Value>> entries) {
  std::vector<std::pair<Value, Value>> keyed;
  keyed.reserve(entries.size());
  for (auto& [key, item] : entries) keyed.emplace_back(std::move(key), std::move(item));
  return mapping(std::move(keyed));
}

Value Value::mapping(std::vector<std::pair<Value, Value>> entries) {
  int depth = 0;
  for (const auto& [key, item] : entries) depth = std::max({depth, key.depth(), item.depth()});
  Value value;
  value.held_ = std::make_shared<const Dict>(Dict{std::move(entries), checked_depth(depth + 1)});
  return value;
}

const std::string* Value::text() const {
  if (const auto* plain = shared<std::string>()) return plain;
  const auto* markup = shared<Markup>();
  return markup ? &markup->text : nullptr;
}

Namespace* Value::space() const {
  const auto* held = std::get_if<Namespace*>(&held_);
  return held ? *held : nullptr;
}

Loop* Value::loop() const {
  const auto* held = std::get_if<Loop*>(&held_);
  return held ? *held : nullptr;
}

std::optional<int64_t> Value::as_integer() const {
  if (boolean()) return *boolean() ? 1 : 0;
  if (integer()) return *integer();
  return std::nullopt;
}

std::optional<double> Value::as_number() const {
  if (real()) return *real();
  if (const auto whole = as_integer()) return static_cast<double>(*whole);
  return std::nullopt;
}

bool Value::truth() const {
  if (undefined() || is_none()) return false;
  if (const auto number = as_number()) return *number != 0;
  if (text()) return !text()->empty();
  if (list()) return !list()->items.empty();
  if (dict()) return !dict()->entries.empty();
  return true;
}

bool Value::same_as(const Value& other) const {
  if (held_.index() != other.held_.index()) return false;
  if (undefined()) return undefined()->what == other.undefined()->what;
  if (is_none()) return true;
  if (as_number()) return *as_number() == *other.as_number();
  if (text()) return *text() == *other.text();
  if (list()) return list() == other.list();
  if (dict()) return dict() == other.dict();
  if (callable()) return callable() == other.callable();
  if (space()) return space() == other.space();
  if (loop()) return loop() == other.loop();
  return iterator() == other.iterator() && turns() == other.turns();
}

const char* Value::kind() const {
  if (list()) return kind_of(list()->type);
  constexpr const char* kKinds[] = {
      "undefined",   "none",   "a boolean", "an integer", "a number",    "a string",
      "a string",    "a list", "a dict",    "a function", "an iterator", "a cycler or joiner",
      "a namespace", "a loop"};
  static_assert(std::size(kKinds) == std::variant_size_v<decltype(held_)>);
  return kKinds[held_.index()];
}

int Value::depth() const {
  if (list()) return list()->depth;
  if (dict()) return dict()->depth;
  if (callable()) return callable()->receiver.depth() + 1;
  if (iterator()) return iterator()->depth;
  if (turns()) return turns()->depth;
  return 0;
}

const Value* Dict::find(std::string_view key) const {
  const auto found = std::ranges::find_if(
      entries, [&](const auto& entry) { return entry.first.text() && *entry.first.text() == key; });
  return found == entries.end() ? nullptr : &found->second;
}

std::vector<Value> Arguments::bind(std::string_view function,
                                   const std::vector<std::string_view>& parameters) const {
  if (positional.size() > parameters.size()) {
    throw Failure(detail::formatted("{}() takes at most {} arguments, got {}", function,
                                    parameters.size(), positional.size()));
  }
  std::vector<Value> values(positional);
  values.resize(parameters.size());
  std::vector<bool> given(parameters.size());
  std::fill_n(given.begin(), positional.size(), true);
  for (const auto& [name, value] : named) {
    const auto place = std::ranges::find(parameters, name) - parameters.begin();
    if (place == std::ssize(parameters)) {
      throw Failure(detail::formatted("{}() takes no argument '{}'", function, name));
    }
    if (given[place]) throw Failure(detail::formatted("{}(): '{}' is given twice", function, name));
    given[place] = true;
    values[place] = value;
  }
  return values;
}

void check_defined(const Value& value) {
  if (!value.undefined()) return;
  const auto& what = value.undefined()->what;
  throw Failure(what ? *what + " is undefined" : std::string("an undefined value is used"));
}

const std::string& want_text(const Value& value, std::string_view what) {
  check_defined(value);
  if (!value.text())
    throw Failure(detail::formatted("{}: want a string, got {}", what, value.kind()));
  return *value.text();
}

int64_t want_integer(const Value& value, std::string_view what, std::optional<int64_t> absent) {
  if (value.is_absent() && absent) return *absent;
  check_defined(value);
  if (!value.as_integer())
    throw Failure(detail::formatted("{}: want an integer, got {}", what, value.kind()));
  return *value.as_integer();
}

Value new_text(std::string text, Meter& meter) {
  meter.charge(text.size());
  check_size(text);
  return {std::move(text)};
}

Value new_markup(std::string text, Meter& meter) {
  meter.charge(text.size());
  check_size(text);
  return Markup{std::move(text)};
}

Value new_list(std::vector<Value> items, Meter& meter, Sequence type) {
  meter.charge((items.size() + 1) * Meter::kElement);
  return Value::list(std::move(items), type);
}

}  // namespace slice::detail::jinja
