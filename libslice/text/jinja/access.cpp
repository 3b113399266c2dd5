#include "libslice/text/jinja/access.h"

#include <algorithm>
#include <map>

#include "libslice/base/detail/formatted.h"
#include "libslice/text/jinja/compare.h"
#include "libslice/text/jinja/methods.h"
#include "libslice/text/jinja/objects.h"
#include "libslice/text/jinja/text.h"
#include "libslice/text/jinja/tree.h"

namespace slice::detail::jinja {
namespace {

Value missing(const Value& subject, std::string_view name) {
  return Value::undefined(detail::formatted("'{}' of {}", name, subject.kind()));
}

// The attributes of `loop` that are not methods; absent for other names.
Value loop_attribute(Loop& loop, std::string_view name) {
  const auto index = static_cast<int64_t>(loop.index);
  const auto has_next = [&] { return loop.index + 1 < loop.items.size() || loop.pull(); };
  const auto length = [&] {
    while (loop.pull()) continue;
    return std::ssize(loop.items);
  };
  if (name == "index") return index + 1;
  if (name == "index0") return index;
  if (name == "first") return index == 0;
  if (name == "last") return !has_next();
  if (name == "length") return length();
  if (name == "revindex") return length() - index;
  if (name == "revindex0") return length() - index - 1;
  if (name == "depth") return loop.depth + 1;
  if (name == "depth0") return loop.depth;
  if (name == "previtem") {
    return index > 0 ? loop.items[loop.index - 1] : Value::undefined("'loop.previtem'");
  }
  if (name == "nextitem") {
    return has_next() ? loop.items[loop.index + 1] : Value::undefined("'loop.nextitem'");
  }
  return {};
}

Value macro_attribute(const Macro& macro, std::string_view name) {
  if (name == "name") return macro.name;
  if (name == "catch_varargs") return macro.takes_more;
  if (name == "catch_kwargs") return macro.takes_named;
  if (name == "caller") return macro.takes_caller;
  if (name != "arguments") return {};
  return Value::list({macro.parameters.begin(), macro.parameters.end()}, Sequence::kTuple);
}

// Attributes of Python's numbers; absent for other names.
Value number_attribute(const Value& subject, std::string_view name) {
  if (name == "real") return subject.as_integer() ? Value(*subject.as_integer()) : subject;
  if (name == "imag") return subject.real() ? Value(0.0) : Value(int64_t{0});
  if (!subject.as_integer()) return {};
  if (name == "numerator") return *subject.as_integer();
  return name == "denominator" ? Value(int64_t{1}) : Value();
}

// An attribute that is neither a method nor an entry of a dict; absent without one.
Value plain_attribute(const Value& subject, std::string_view name) {
  if (subject.loop()) return loop_attribute(*subject.loop(), name);
  if (subject.as_number()) return number_attribute(subject, name);
  if (subject.callable() && subject.callable()->macro) {
    return macro_attribute(*subject.callable()->macro, name);
  }
  if (subject.list() && subject.list()->type == Sequence::kGroup) {
    if (name == "grouper") return subject.list()->items[0];
    if (name == "list") return subject.list()->items[1];
  }
  if (subject.turns() && !subject.turns()->joins && name == "current") {
    return subject.turns()->items[subject.turns()->calls % subject.turns()->items.size()];
  }
  if (!subject.space()) return {};
  const auto found = subject.space()->members.find(name);
  return found == subject.space()->members.end() ? Value() : found->second;
}

Value item_at(const Value& subject, int64_t position, Meter& meter) {
  if (subject.text()) meter.charge(subject.text()->size() * 4);
  const auto pieces =
      subject.text() ? characters(*subject.text()) : std::vector<std::string_view>();
  const int64_t size = subject.text() ? std::ssize(pieces) : std::ssize(subject.list()->items);
  const int64_t place = position < 0 ? position + size : position;
  if (place < 0 || place >= size) return missing(subject, std::to_string(position));
  if (subject.list()) return subject.list()->items[place];
  std::string text(pieces[place]);
  return subject.is_markup() ? new_markup(std::move(text), meter) : Value(std::move(text));
}

int64_t bound(const Value& value, int64_t absent) {
  if (value.is_none()) return absent;
  check_defined(value);
  if (!value.as_integer()) {
    throw Failure(detail::formatted("a slice wants integers, got {}", value.kind()));
  }
  return *value.as_integer();
}

// One end of a slice as in Python: counted from the end when negative, then clamped.
int64_t inside(int64_t position, int64_t size, int64_t lowest, int64_t highest) {
  return std::clamp(position < 0 ? position + size : position, lowest, highest);
}

struct Places {
  int64_t begin, end, stride;

  template <typename Take>
  void each(Take take) const {
    for (int64_t i = begin; stride > 0 ? i < end : i > end; i += stride) take(i);
  }
};

Places places_of(int64_t size, const Value& start, const Value& stop, const Value& step) {
  // A step is no longer than the whole, so that the sums below stay within 64 bits.
  const int64_t stride = std::clamp(bound(step, 1), -size - 1, size + 1);
  if (stride == 0) throw Failure("a slice with step 0");
  const bool forward = stride > 0;
  const int64_t lowest = forward ? 0 : -1, highest = forward ? size : size - 1;
  const int64_t begin = start.is_none() ? (forward ? lowest : highest)
                                        : inside(bound(start, 0), size, lowest, highest);
  const int64_t end =
      stop.is_none() ? (forward ? highest : lowest) : inside(bound(stop, 0), size, lowest, highest);
  return {begin, end, stride};
}

}  // namespace

Value get_attribute(const Value& subject, std::string_view name, Meter& meter) {
  check_defined(subject);
  if (has_method(subject, name)) return Callable{std::string(name), subject};
  if (hides_entry(subject, name)) return missing(subject, name);
  if (subject.dict()) {
    const Value* entry = find_entry(*subject.dict(), std::string(name), meter);
    return entry ? *entry : missing(subject, name);
  }
  Value value = plain_attribute(subject, name);
  return value.is_absent() ? missing(subject, name) : value;
}

Value get_item(const Value& subject, const Value& index, Meter& meter) {
  check_defined(subject);
  const bool is_key = !index.dict() && (!index.list() || index.list()->is_tuple());
  if (subject.dict() && is_key) {
    if (const Value* entry = find_entry(*subject.dict(), index, meter)) return *entry;
  }
  if (index.text()) return get_attribute(subject, *index.text(), meter);
  const auto position = index.as_integer();
  const bool has_places = subject.text() || (subject.list() && subject.list()->has_places());
  if (position && has_places) return item_at(subject, *position, meter);
  return missing(subject, position ? std::to_string(*position) : index.kind());
}

Value get_slice(const Value& subject, const Value& start, const Value& stop, const Value& step,
                Meter& meter) {
  check_defined(subject);
  if (!subject.text() && !(subject.list() && subject.list()->has_places())) {
    throw Failure(detail::formatted("a slice of {}", subject.kind()));
  }
  if (subject.text()) {
    meter.charge(subject.text()->size() * 4);
    const auto pieces = characters(*subject.text());
    std::string text;
    places_of(std::ssize(pieces), start, stop, step).each([&](int64_t i) { text += pieces[i]; });
    return subject.is_markup() ? new_markup(std::move(text), meter)
                               : new_text(std::move(text), meter);
  }
  const List& list = *subject.list();
  const Places places = places_of(std::ssize(list.items), start, stop, step);
  std::vector<Value> items;
  places.each([&](int64_t i) { items.push_back(list.items[i]); });
  meter.charge((items.size() + 1) * Meter::kElement);
  List result{std::move(items), list.is_tuple() ? Sequence::kTuple : list.type};
  const auto [first, last, stride] = list.range;
  result.range = {first + places.begin * stride, first + places.end * stride,
                  places.stride * stride};
  return result;
}

}  // namespace slice::detail::jinja
