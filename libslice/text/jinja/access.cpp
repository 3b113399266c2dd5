#include "libslice/text/jinja/access.h"

#include <algorithm>

#include "libslice/base/detail/formatted.h"
#include "libslice/text/jinja/methods.h"
#include "libslice/text/jinja/text.h"

namespace slice::detail::jinja {
namespace {

// A member named by the template or the conversation; null when absent.
const Value* find_member(const Value& subject, std::string_view name, Meter& meter) {
  if (subject.dict()) {
    meter.charge(subject.dict()->entries.size());
    return subject.dict()->find(name);
  }
  if (!subject.space()) return nullptr;
  const auto found = subject.space()->members.find(name);
  return found == subject.space()->members.end() ? nullptr : &found->second;
}

Value missing(const Value& subject, std::string_view name) {
  return Value::undefined(detail::formatted("'{}' of {}", name, subject.kind()));
}

int64_t bound(const Value& value, int64_t absent) {
  if (value.undefined() || value.is_none()) return absent;
  if (!value.as_integer()) {
    throw Failure(detail::formatted("a slice wants integers, got {}", value.kind()));
  }
  return *value.as_integer();
}

// One end of a slice as in Python: counted from the end when negative, then clamped.
int64_t inside(int64_t position, int64_t size, int64_t lowest, int64_t highest) {
  return std::clamp(position < 0 ? position + size : position, lowest, highest);
}

}  // namespace

Value get_attribute(const Value& subject, std::string_view name, Meter& meter) {
  check_defined(subject);
  if (has_method(subject, name)) return Callable{std::string(name), subject};
  const Value* member = find_member(subject, name, meter);
  return member ? *member : missing(subject, name);
}

Value get_item(const Value& subject, const Value& index, Meter& meter) {
  check_defined(subject);
  if (index.text()) {
    if (const Value* member = find_member(subject, *index.text(), meter)) return *member;
    return get_attribute(subject, *index.text(), meter);
  }
  const auto position = index.as_integer();
  if (position && (subject.list() || subject.text())) {
    if (subject.text()) meter.charge(subject.text()->size() * 4);
    const auto pieces =
        subject.text() ? characters(*subject.text()) : std::vector<std::string_view>();
    const int64_t size = subject.text() ? std::ssize(pieces) : std::ssize(subject.list()->items);
    const int64_t place = *position < 0 ? *position + size : *position;
    if (place >= 0 && place < size) {
      return subject.text() ? Value(std::string(pieces[place])) : subject.list()->items[place];
    }
  }
  check_defined(index);
  return missing(subject, position ? std::to_string(*position) : index.kind());
}

Value get_slice(const Value& subject, const Value& start, const Value& stop, const Value& step,
                Meter& meter) {
  check_defined(subject);
  if (!subject.text() && !subject.list()) {
    throw Failure(detail::formatted("a slice of {}", subject.kind()));
  }
  if (subject.text()) meter.charge(subject.text()->size() * 4);
  const auto pieces =
      subject.text() ? characters(*subject.text()) : std::vector<std::string_view>();
  const int64_t size = subject.text() ? std::ssize(pieces) : std::ssize(subject.list()->items);
  // A step is no longer than the whole, so that the sums below stay within 64 bits.
  const int64_t stride = std::clamp(bound(step, 1), -size - 1, size + 1);
  if (stride == 0) throw Failure("a slice with step 0");
  const bool forward = stride > 0;
  const int64_t lowest = forward ? 0 : -1, highest = forward ? size : size - 1;
  const bool no_start = start.undefined() || start.is_none();
  const bool no_stop = stop.undefined() || stop.is_none();
  const int64_t begin =
      no_start ? (forward ? lowest : highest) : inside(bound(start, 0), size, lowest, highest);
  const int64_t end =
      no_stop ? (forward ? highest : lowest) : inside(bound(stop, 0), size, lowest, highest);
  std::string text;
  std::vector<Value> items;
  for (int64_t i = begin; forward ? i < end : i > end; i += stride) {
    if (subject.text()) {
      text += pieces[i];
    } else {
      items.push_back(subject.list()->items[i]);
    }
  }
  if (subject.text()) return new_text(std::move(text), meter);
  return new_list(std::move(items), meter, subject.list()->is_tuple);
}

}  // namespace slice::detail::jinja
