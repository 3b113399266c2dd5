#include <algorithm>
#include <random>

#include "libslice/base/detail/formatted.h"
#include "libslice/text/jinja/access.h"
#include "libslice/text/jinja/compare.h"
#include "libslice/text/jinja/filters.h"
#include "libslice/text/jinja/methods.h"
#include "libslice/text/jinja/objects.h"
#include "libslice/text/jinja/print.h"
#include "libslice/text/jinja/text.h"

namespace slice::detail::jinja {
namespace {

Value length(const Value& subject, const Arguments& arguments, Meter& meter) {
  arguments.bind("length", {});
  if (subject.undefined()) return int64_t{0};
  if (subject.list()) return std::ssize(subject.list()->items);
  if (subject.dict()) return std::ssize(subject.dict()->entries);
  if (subject.loop()) return get_attribute(subject, "length", meter);
  if (!subject.text()) throw Failure(detail::formatted("the length of {}", subject.kind()));
  meter.charge(subject.text()->size());
  return character_count(*subject.text());
}

Value join(const Value& subject, const Arguments& arguments, Meter& meter) {
  const auto bound = arguments.bind("join", {"d", "attribute"});
  const std::string separator = to_text(bound[0], meter);
  std::vector<Value> texts;
  for (const Value& item : elements(subject, meter)) {
    texts.push_back(new_text(to_text(attribute_of(item, bound[1], meter), meter), meter));
  }
  return call_method(separator, "join", {{new_list(std::move(texts), meter)}}, meter);
}

template <bool kLast>
Value end_item(const Value& subject, const Arguments& arguments, Meter& meter) {
  arguments.bind(kLast ? "last" : "first", {});
  if (subject.iterator()) {
    if (kLast) throw Failure("the last item of an iterator");
    Value item = subject.iterator()->take_one();
    if (!item.is_absent()) return item;
  }
  const std::vector<Value> items = elements(subject, meter);
  if (items.empty()) {
    return Value::undefined(
        detail::formatted("the {} item of an empty sequence", kLast ? "last" : "first"));
  }
  if (kLast && subject.is_markup()) return new_markup(*items.back().text(), meter);
  return kLast ? items.back() : items.front();
}

Value random_item(const Value& subject, const Arguments& arguments, Meter& meter) {
  arguments.bind("random", {});
  const bool has_places = subject.text() || (subject.list() && subject.list()->has_places());
  if (!has_places && !subject.undefined()) {
    throw Failure(detail::formatted("random() of {}", subject.kind()));
  }
  const std::vector<Value> items = elements(subject, meter);
  if (items.empty()) return Value::undefined("a random item of an empty sequence");
  std::random_device source;
  return items[std::uniform_int_distribution<size_t>(0, items.size() - 1)(source)];
}

Value default_value(const Value& subject, const Arguments& arguments, Meter&) {
  const auto bound = arguments.bind("default", {"default_value", "boolean"});
  const bool absent = subject.undefined() || (bound[1].truth() && !subject.truth());
  if (!absent) return subject;
  return bound[0].is_absent() ? Value("") : bound[0];
}

Value list(const Value& subject, const Arguments& arguments, Meter& meter) {
  arguments.bind("list", {});
  return new_list(elements(subject, meter), meter);
}

Value reverse(const Value& subject, const Arguments& arguments, Meter& meter) {
  arguments.bind("reverse", {});
  std::vector<Value> items = elements(subject, meter);
  std::ranges::reverse(items);
  if (subject.iterator()) return new_list(std::move(items), meter);
  if (!subject.text()) {
    const int depth = subject.depth() + 1;
    return new_iterator([items = std::move(items)] { return items; }, depth, meter);
  }
  return call_method("", "join", {{new_list(std::move(items), meter)}}, meter);
}

Value items(const Value& subject, const Arguments& arguments, Meter& meter) {
  arguments.bind("items", {});
  const auto make = [subject, &meter] {
    if (subject.undefined()) return std::vector<Value>();
    if (!subject.dict()) throw Failure(detail::formatted("the items of {}", subject.kind()));
    return elements(call_method(subject, "items", {}, meter), meter);
  };
  return new_iterator(make, subject.depth() + 1, meter);
}

// batch(size, fill): lists of so many items; the last is filled up.
Value batch(const Value& subject, const Arguments& arguments, Meter& meter) {
  const auto bound = arguments.bind("batch", {"linecount", "fill_with"});
  const int64_t size = want_integer(bound[0], "batch()");
  const Value fill = bound[1];
  const auto make = [subject, size, fill, &meter] {
    std::vector<Value> batches, next;
    for (const Value& item : elements(subject, meter)) {
      if (std::ssize(next) == size) batches.push_back(new_list(std::exchange(next, {}), meter));
      next.push_back(item);
    }
    const bool fills = !fill.is_absent() && !fill.is_none() && !next.empty();
    while (fills && std::ssize(next) < size) {
      meter.charge(Meter::kElement);
      next.push_back(fill);
    }
    if (!next.empty()) batches.push_back(new_list(std::move(next), meter));
    return batches;
  };
  return new_iterator(make, std::max(subject.depth(), fill.depth()) + 1, meter);
}

// slice(count, fill): so many lists of nearly the same length.
Value slices(const Value& subject, const Arguments& arguments, Meter& meter) {
  const auto bound = arguments.bind("slice", {"slices", "fill_with"});
  const int64_t count = want_integer(bound[0], "slice()");
  const Value fill = bound[1];
  const auto make = [subject, count, fill, &meter] {
    const std::vector<Value> all = elements(subject, meter);
    if (count == 0) throw Failure("slice(): a division by zero");
    const int64_t each = std::ssize(all) / count, longer = std::ssize(all) % count;
    const bool fills = !fill.is_absent() && !fill.is_none();
    std::vector<Value> lists;
    auto next = all.begin();
    for (int64_t i = 0; i < count; ++i) {
      const auto end = next + each + (i < longer);
      std::vector<Value> part(next, end);
      if (fills && i >= longer) part.push_back(fill);
      lists.push_back(new_list(std::move(part), meter));
      next = end;
    }
    return lists;
  };
  return new_iterator(make, std::max(subject.depth(), fill.depth()) + 1, meter);
}

// subject|attr("name"): a method or an attribute, never an entry.
Value attribute(const Value& subject, const Arguments& arguments, Meter& meter) {
  const auto bound = arguments.bind("attr", {"name"});
  check_defined(subject);
  const std::string& name = want_text(bound[0], "attr()");
  if (!subject.dict() || has_method(subject, name)) return get_attribute(subject, name, meter);
  return Value::undefined(detail::formatted("'{}' of {}", name, subject.kind()));
}

}  // namespace

const Filters& sequence_filters() {
  static const Filters table = {
      {"length", length},         {"count", length},        {"join", join},
      {"first", end_item<false>}, {"last", end_item<true>}, {"random", random_item},
      {"default", default_value}, {"d", default_value},     {"list", list},
      {"reverse", reverse},       {"items", items},         {"batch", batch},
      {"slice", slices},          {"attr", attribute}};
  return table;
}

}  // namespace slice::detail::jinja
