#include "libslice/text/jinja/compare.h"

#include <algorithm>

#include "libslice/base/detail/formatted.h"
#include "libslice/text/jinja/objects.h"
#include "libslice/text/jinja/text.h"

namespace slice::detail::jinja {
namespace {

bool equal_dicts(const Dict& left, const Dict& right, Meter& meter) {
  if (left.entries.size() != right.entries.size()) return false;
  return std::ranges::all_of(left.entries, [&](const auto& entry) {
    const Value* other = find_entry(right, entry.first, meter);
    return other && equal(entry.second, *other, meter);
  });
}

bool equal_lists(const List& left, const List& right, Meter& meter) {
  const auto same = [&](const Value& one, const Value& other) { return equal(one, other, meter); };
  if (left.type == Sequence::kValues || right.type == Sequence::kValues) return &left == &right;
  if (!left.has_places() && !right.has_places()) {  // as sets
    return left.items.size() == right.items.size() &&
           std::ranges::all_of(left.items, [&](const Value& item) {
             return std::ranges::any_of(right.items,
                                        [&](const Value& other) { return same(item, other); });
           });
  }
  return (left.type == right.type || (left.is_tuple() && right.is_tuple())) &&
         std::ranges::equal(left.items, right.items, same);
}

void check_key(const Value& key) {
  const bool is_sequence = key.list() && !key.list()->is_tuple();
  if (key.dict() || key.space() || is_sequence) {
    throw Failure(detail::formatted("a key of a dict cannot be {}", key.kind()));
  }
  if (key.list()) std::ranges::for_each(key.list()->items, check_key);
}

// Of a search among `count` keys, which may all begin as this one does.
void charge_keys(size_t count, const Value& key, Meter& meter) {
  meter.charge(Meter::kStep + count * (1 + (key.text() ? key.text()->size() / 16 : 0)));
}

bool contains(const Value& whole, const Value& part, Meter& meter) {
  if (whole.text() && part.text()) {
    charge_search(*whole.text(), *part.text(), meter);
    return whole.text()->find(*part.text()) != std::string::npos;
  }
  if (whole.list() || whole.iterator()) {
    const std::vector<Value> made =
        whole.iterator() ? elements(whole, meter) : std::vector<Value>();
    return std::ranges::any_of(whole.list() ? whole.list()->items : made,
                               [&](const Value& item) { return equal(item, part, meter); });
  }
  if (whole.dict()) return find_entry(*whole.dict(), part, meter) != nullptr;
  if (whole.undefined()) return false;
  refuse_operands("in", part, whole);
}

}  // namespace

void refuse_operands(std::string_view sign, const Value& left, const Value& right) {
  check_defined(left);
  check_defined(right);
  throw Failure(detail::formatted("'{}' between {} and {}", sign, left.kind(), right.kind()));
}

bool equal(const Value& left, const Value& right, Meter& meter) {
  meter.charge(Meter::kStep);
  if (left.as_integer() && right.as_integer()) return *left.as_integer() == *right.as_integer();
  if (left.as_number() && right.as_number()) return *left.as_number() == *right.as_number();
  if (left.text() && right.text()) {
    meter.charge(std::min(left.text()->size(), right.text()->size()));
    return *left.text() == *right.text();
  }
  if (left.list() && right.list()) return equal_lists(*left.list(), *right.list(), meter);
  if (left.dict() && right.dict()) return equal_dicts(*left.dict(), *right.dict(), meter);
  if (left.undefined() && right.undefined()) return true;
  return left.same_as(right);
}

bool less(std::string_view sign, const Value& left, const Value& right, Meter& meter) {
  meter.charge(Meter::kStep);
  if (left.text() && right.text()) {
    meter.charge(std::min(left.text()->size(), right.text()->size()));
    return *left.text() < *right.text();
  }
  if (left.as_integer() && right.as_integer()) return *left.as_integer() < *right.as_integer();
  if (left.as_number() && right.as_number()) return *left.as_number() < *right.as_number();
  const List *one = left.list(), *other = right.list();
  const bool comparable = one && other && one->has_places() && one->type != Sequence::kRange &&
                          (one->type == other->type || (one->is_tuple() && other->is_tuple()));
  if (!comparable) refuse_operands(sign, left, right);
  for (size_t i = 0; i < std::min(one->items.size(), other->items.size()); ++i) {
    if (!equal(one->items[i], other->items[i], meter)) {
      return less(sign, one->items[i], other->items[i], meter);
    }
  }
  return one->items.size() < other->items.size();
}

bool compare(std::string_view sign, const Value& left, const Value& right, Meter& meter) {
  if (sign == "==") return equal(left, right, meter);
  if (sign == "!=") return !equal(left, right, meter);
  if (sign == "in") return contains(right, left, meter);
  if (sign == "not in") return !contains(right, left, meter);
  const bool is_smaller = sign.front() == '<';
  if (is_smaller ? less(sign, left, right, meter) : less(sign, right, left, meter)) return true;
  return sign.size() == 2 && equal(left, right, meter);
}

std::vector<Value> elements(const Value& value, Meter& meter) {
  std::vector<Value> items;
  if (value.list()) {
    meter.charge(value.list()->items.size() * Meter::kElement);
    items = value.list()->items;
  } else if (value.iterator()) {
    items = value.iterator()->take();
    meter.charge(items.size() * Meter::kElement);
  } else if (value.dict()) {
    meter.charge(value.dict()->entries.size() * Meter::kElement);
    for (const auto& [key, item] : value.dict()->entries) items.push_back(key);
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

const Value* find_entry(const Dict& dict, const Value& key, Meter& meter) {
  charge_keys(dict.entries.size(), key, meter);
  if (key.text()) return dict.find(*key.text());
  check_key(key);
  const auto found = std::ranges::find_if(
      dict.entries, [&](const auto& entry) { return equal(entry.first, key, meter); });
  return found == dict.entries.end() ? nullptr : &found->second;
}

void put_entry(std::vector<std::pair<Value, Value>>& entries, const Value& key, Value value,
               Meter& meter) {
  check_key(key);
  charge_keys(entries.size(), key, meter);
  meter.charge(Meter::kElement);
  const auto found = std::ranges::find_if(entries, [&](const auto& entry) {
    return key.text() ? entry.first.text() && *entry.first.text() == *key.text()
                      : equal(entry.first, key, meter);
  });
  if (found != entries.end()) {
    found->second = std::move(value);
  } else {
    entries.emplace_back(key, std::move(value));
  }
}

void charge_search(std::string_view text, std::string_view needle, Meter& meter) {
  // Both are at most kMaxOutputBytes, so the product fits.
  meter.charge(text.size() + text.size() * needle.size() / 16);
}

}  // namespace slice::detail::jinja
