#include "libslice/text/jinja/value.h"

#include <algorithm>

#include "libslice/base/detail/formatted.h"
#include "libslice/text/jinja/text.h"

namespace slice::detail::jinja {
namespace {

int checked_depth(int depth) {
  if (depth > kMaxValueDepth) {
    throw Failure(detail::formatted("lists or dicts nested more than {} deep", kMaxValueDepth));
  }
  return depth;
}

bool equal_dicts(const Dict& left, const Dict& right, Meter& meter) {
  if (left.entries.size() != right.entries.size()) return false;
  return std::ranges::all_of(left.entries, [&](const auto& entry) {
    meter.charge(Meter::kElement + right.entries.size());
    const Value* other = right.find(entry.first);
    return other && equal(entry.second, *other, meter);
  });
}

}  // namespace

Value::Value(Callable callable) : held_(std::make_shared<const Callable>(std::move(callable))) {
  checked_depth(depth());
}

Value Value::undefined(std::string what) {
  Value value;
  value.held_ = Undefined{std::make_shared<const std::string>(std::move(what))};
  return value;
}

Value Value::list(std::vector<Value> items, bool is_tuple) {
  int depth = 0;
  for (const Value& item : items) depth = std::max(depth, item.depth());
  Value value;
  value.held_ =
      std::make_shared<const List>(List{std::move(items), is_tuple, checked_depth(depth + 1)});
  return value;
}

Value Value::dict(std::vector<std::pair<std::string, Value>> entries) {
  int depth = 0;
  for (const auto& [key, item] : entries) depth = std::max(depth, item.depth());
  Value value;
  value.held_ = std::make_shared<const Dict>(Dict{std::move(entries), checked_depth(depth + 1)});
  return value;
}

Namespace* Value::space() const {
  const auto* held = std::get_if<Namespace*>(&held_);
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

const char* Value::kind() const {
  constexpr const char* kKinds[] = {"undefined",  "none",       "a boolean", "an integer",
                                    "a float",    "a string",   "a list",    "a dict",
                                    "a function", "a namespace"};
  static_assert(std::size(kKinds) == std::variant_size_v<decltype(held_)>);
  return kKinds[held_.index()];
}

int Value::depth() const {
  if (list()) return list()->depth;
  if (dict()) return dict()->depth;
  if (callable()) return callable()->receiver.depth() + 1;
  return 0;
}

const Value* Dict::find(std::string_view key) const {
  const auto found = std::ranges::find(
      entries, key, [](const auto& entry) -> std::string_view { return entry.first; });
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

bool equal(const Value& left, const Value& right, Meter& meter) {
  meter.charge(Meter::kStep);
  if (left.as_integer() && right.as_integer()) return *left.as_integer() == *right.as_integer();
  if (left.as_number() && right.as_number()) return *left.as_number() == *right.as_number();
  if (left.text() && right.text()) {
    meter.charge(std::min(left.text()->size(), right.text()->size()));
    return *left.text() == *right.text();
  }
  if (left.list() && right.list()) {
    return left.list()->is_tuple == right.list()->is_tuple &&
           std::ranges::equal(
               left.list()->items, right.list()->items,
               [&](const Value& one, const Value& other) { return equal(one, other, meter); });
  }
  if (left.dict() && right.dict()) return equal_dicts(*left.dict(), *right.dict(), meter);
  if (left.space() || right.space()) return left.space() == right.space();
  if (left.callable() || right.callable()) return left.callable() == right.callable();
  return (left.is_none() && right.is_none()) || (left.undefined() && right.undefined());
}

std::vector<Value> elements(const Value& value, Meter& meter) {
  std::vector<Value> items;
  if (value.list()) {
    meter.charge(value.list()->items.size() * Meter::kElement);
    items = value.list()->items;
  } else if (value.dict()) {
    meter.charge(value.dict()->entries.size() * Meter::kElement);
    for (const auto& [key, item] : value.dict()->entries) items.push_back(new_text(key, meter));
  } else if (value.text()) {
    meter.charge(value.text()->size() * Meter::kElement);
    for (const std::string_view character : characters(*value.text())) {
      items.emplace_back(std::string(character));
    }
  } else if (!value.undefined()) {
    throw Failure(detail::formatted("cannot loop over {}", value.kind()));
  }
  return items;
}

Value new_text(std::string text, Meter& meter) {
  meter.charge(text.size());
  if (text.size() > kMaxOutputBytes) {
    throw Failure(detail::formatted("a string of more than {} bytes", kMaxOutputBytes));
  }
  return {std::move(text)};
}

Value new_list(std::vector<Value> items, Meter& meter, bool is_tuple) {
  meter.charge((items.size() + 1) * Meter::kElement);
  return Value::list(std::move(items), is_tuple);
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

}  // namespace slice::detail::jinja
