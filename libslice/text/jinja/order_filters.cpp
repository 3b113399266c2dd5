#include <algorithm>
#include <numeric>

#include "libslice/base/detail/formatted.h"
#include "libslice/text/jinja/compare.h"
#include "libslice/text/jinja/filters.h"
#include "libslice/text/jinja/objects.h"
#include "libslice/text/jinja/operators.h"
#include "libslice/text/jinja/text.h"

namespace slice::detail::jinja {
namespace {

// What an item is ordered by: strings without their case unless it counts.
Value key_of(const Value& value, bool with_case, Meter& meter) {
  if (with_case || !value.text()) return value;
  meter.charge(value.text()->size() * 4);
  return new_text(lower(*value.text()), meter);
}

// The items in the order of their keys; those with equal keys stay in their order.
std::vector<Value> ordered(const std::vector<Value>& items, const std::vector<Value>& keys,
                           bool reversed, Meter& meter) {
  std::vector<size_t> order(items.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, [&](size_t one, size_t other) {
    return reversed ? less("<", keys[other], keys[one], meter)
                    : less("<", keys[one], keys[other], meter);
  });
  std::vector<Value> result;
  for (const size_t place : order) result.push_back(items[place]);
  return result;
}

Value dictsort(const Value& subject, const Arguments& arguments, Meter& meter) {
  const auto bound = arguments.bind("dictsort", {"case_sensitive", "by", "reverse"});
  check_defined(subject);
  if (!subject.dict()) throw Failure(detail::formatted("dictsort() of {}", subject.kind()));
  const std::string by = bound[1].is_absent() ? "key" : want_text(bound[1], "dictsort()");
  if (by != "key" && by != "value") throw Failure("dictsort(): want 'key' or 'value'");
  std::vector<Value> pairs, keys;
  for (const auto& [key, value] : subject.dict()->entries) {
    pairs.push_back(new_list({key, value}, meter, Sequence::kTuple));
    keys.push_back(key_of(by == "key" ? key : value, bound[0].truth(), meter));
  }
  return new_list(ordered(pairs, keys, bound[2].truth(), meter), meter);
}

// sort(attribute='a,b'): by the first, of equal ones by the second.
Value sort(const Value& subject, const Arguments& arguments, Meter& meter) {
  const auto bound = arguments.bind("sort", {"reverse", "case_sensitive", "attribute"});
  std::vector<Value> attributes = {bound[2]};
  if (bound[2].text()) {
    attributes.clear();
    for (const std::string_view name : split(*bound[2].text(), ",", -1)) {
      attributes.emplace_back(std::string(name));
    }
  }
  const std::vector<Value> items = elements(subject, meter);
  std::vector<Value> keys;
  for (const Value& item : items) {
    std::vector<Value> key;
    for (const Value& attribute : attributes) {
      key.push_back(key_of(attribute_of(item, attribute, meter), bound[1].truth(), meter));
    }
    keys.push_back(new_list(std::move(key), meter));
  }
  return new_list(ordered(items, keys, bound[0].truth(), meter), meter);
}

Value unique(const Value& subject, const Arguments& arguments, Meter& meter) {
  const auto bound = arguments.bind("unique", {"case_sensitive", "attribute"});
  const auto make = [subject, bound, &meter] {
    std::vector<std::pair<Value, Value>> seen;
    std::vector<Value> kept;
    for (const Value& item : elements(subject, meter)) {
      const size_t before = seen.size();
      put_entry(seen, key_of(attribute_of(item, bound[1], meter), bound[0].truth(), meter), None(),
                meter);
      if (seen.size() > before) kept.push_back(item);
    }
    return kept;
  };
  return new_iterator(make, subject.depth() + 1, meter);
}

template <bool kMost>
Value extreme(const Value& subject, const Arguments& arguments, Meter& meter) {
  const auto bound = arguments.bind(kMost ? "max" : "min", {"case_sensitive", "attribute"});
  Value best, best_key;
  bool found = false;
  for (const Value& item : elements(subject, meter)) {
    const Value key = key_of(attribute_of(item, bound[1], meter), bound[0].truth(), meter);
    const bool better =
        !found || (kMost ? less(">", best_key, key, meter) : less("<", key, best_key, meter));
    if (!better) continue;
    best = item;
    best_key = key;
    found = true;
  }
  return found ? best : Value::undefined("the least or greatest of an empty sequence");
}

Value sum(const Value& subject, const Arguments& arguments, Meter& meter) {
  const auto bound = arguments.bind("sum", {"attribute", "start"});
  Value total = bound[1].is_absent() ? Value(int64_t{0}) : bound[1];
  if (total.text()) throw Failure("sum() of strings");
  for (const Value& item : elements(subject, meter)) {
    total = binary("+", total, attribute_of(item, bound[0], meter), meter);
  }
  return total;
}

Value groupby(const Value& subject, const Arguments& arguments, Meter& meter) {
  const auto bound = arguments.bind("groupby", {"attribute", "default", "case_sensitive"});
  const auto attribute = [&](const Value& item) {
    Value value = attribute_of(item, bound[0], meter);
    return value.undefined() && !bound[1].is_absent() && !bound[1].is_none() ? bound[1] : value;
  };
  const auto key = [&](const Value& item) {
    return key_of(attribute(item), bound[2].truth(), meter);
  };
  std::vector<Value> items = elements(subject, meter), keys;
  for (const Value& item : items) keys.push_back(key(item));
  items = ordered(items, keys, false, meter);
  std::vector<Value> groups, group;
  const auto finish = [&] {
    if (group.empty()) return;
    const Value grouper = attribute(group.front());
    groups.push_back(
        new_list({grouper, new_list(std::exchange(group, {}), meter)}, meter, Sequence::kGroup));
  };
  for (const Value& item : items) {
    if (!group.empty() && !equal(key(group.front()), key(item), meter)) finish();
    group.push_back(item);
  }
  finish();
  return new_list(std::move(groups), meter);
}

}  // namespace

const Filters& order_filters() {
  static const Filters table = {{"dictsort", dictsort},  {"sort", sort},         {"unique", unique},
                                {"min", extreme<false>}, {"max", extreme<true>}, {"sum", sum},
                                {"groupby", groupby}};
  return table;
}

}  // namespace slice::detail::jinja
