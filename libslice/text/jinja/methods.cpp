#include "libslice/text/jinja/methods.h"

#include <algorithm>
#include <map>

#include "libslice/base/detail/formatted.h"
#include "libslice/text/jinja/operators.h"
#include "libslice/text/jinja/text.h"

namespace slice::detail::jinja {
namespace {

using Method = Value (*)(const Value& receiver, const Arguments& arguments, Meter& meter);
using Methods = std::map<std::string_view, Method>;

std::optional<std::string_view> stripped_set(const Value& set) {
  if (set.undefined() || set.is_none()) return std::nullopt;
  return want_text(set, "strip()");
}

template <bool kLeft, bool kRight>
Value strip(const Value& receiver, const Arguments& arguments, Meter& meter) {
  const auto bound = arguments.bind("strip", {"chars"});
  const auto set = stripped_set(bound[0]);
  std::string_view text = *receiver.text();
  if (kLeft) text = strip_left(text, set);
  if (kRight) text = strip_right(text, set);
  return new_text(std::string(text), meter);
}

int64_t limit_of(const Value& value, std::string_view function) {
  if (value.undefined()) return -1;
  if (!value.as_integer()) {
    throw Failure(detail::formatted("{}(): want an integer, got {}", function, value.kind()));
  }
  return *value.as_integer();
}

const std::string& needle_of(const Value& value, std::string_view function) {
  const std::string& needle = want_text(value, function);
  if (needle.empty())
    throw Failure(detail::formatted("{}(): cannot search for an empty string", function));
  return needle;
}

Value split_text(const Value& receiver, const Arguments& arguments, Meter& meter) {
  const auto bound = arguments.bind("split", {"sep", "maxsplit"});
  const std::string& text = *receiver.text();
  const int64_t limit = limit_of(bound[1], "split");
  std::vector<std::string_view> pieces;
  if (bound[0].undefined() || bound[0].is_none()) {
    meter.charge(text.size());
    pieces = split_at_spaces(text, limit);
  } else {
    const std::string& separator = needle_of(bound[0], "split");
    charge_search(text, separator, meter);
    pieces = split(text, separator, limit);
  }
  std::vector<Value> items;
  meter.charge(pieces.size() * Meter::kElement);
  for (const std::string_view piece : pieces) {
    items.push_back(new_text(std::string(piece), meter));
  }
  return new_list(std::move(items), meter);
}

Value splitlines(const Value& receiver, const Arguments& arguments, Meter& meter) {
  arguments.bind("splitlines", {});
  const std::string& text = *receiver.text();
  meter.charge(text.size() * 2);
  std::vector<Value> items;
  for (size_t begin = 0; begin < text.size();) {
    size_t end = std::min(text.find_first_of("\r\n", begin), text.size());
    meter.charge(Meter::kElement);
    items.push_back(new_text(text.substr(begin, end - begin), meter));
    if (text.compare(end, 2, "\r\n") == 0) ++end;
    begin = end + 1;
  }
  return new_list(std::move(items), meter);
}

template <bool kAtEnd>
Value has_affix(const Value& receiver, const Arguments& arguments, Meter& meter) {
  const char* name = kAtEnd ? "endswith" : "startswith";
  const auto bound = arguments.bind(name, {"affix"});
  const auto fits = [&](const Value& affix) {
    const std::string& wanted = want_text(affix, name);
    meter.charge(wanted.size());
    return kAtEnd ? receiver.text()->ends_with(wanted) : receiver.text()->starts_with(wanted);
  };
  if (bound[0].list()) return std::ranges::any_of(bound[0].list()->items, fits);
  return fits(bound[0]);
}

template <std::string (*kChange)(std::string_view)>
Value change_case(const Value& receiver, const Arguments& arguments, Meter& meter) {
  arguments.bind("upper, lower or capitalize", {});
  meter.charge(receiver.text()->size() * 4);
  return new_text(kChange(*receiver.text()), meter);
}

Value replace_text(const Value& receiver, const Arguments& arguments, Meter& meter) {
  const auto bound = arguments.bind("replace", {"old", "new", "count"});
  const std::string& text = *receiver.text();
  const std::string &from = needle_of(bound[0], "replace"), &to = want_text(bound[1], "replace");
  charge_search(text, from, meter);
  meter.charge(text.size() / from.size() * to.size());
  return new_text(replace(text, from, to, limit_of(bound[2], "replace")), meter);
}

template <bool kLast>
Value find_text(const Value& receiver, const Arguments& arguments, Meter& meter) {
  const auto bound = arguments.bind("find", {"sub"});
  const std::string &text = *receiver.text(), &part = want_text(bound[0], "find");
  charge_search(text, part, meter);
  const size_t found = kLast ? text.rfind(part) : text.find(part);
  if (found == std::string::npos) return int64_t{-1};
  return character_count(std::string_view(text).substr(0, found));
}

Value count_text(const Value& receiver, const Arguments& arguments, Meter& meter) {
  const auto bound = arguments.bind("count", {"sub"});
  const std::string& part = needle_of(bound[0], "count");
  charge_search(*receiver.text(), part, meter);
  return std::ssize(split(*receiver.text(), part, -1)) - 1;
}

Value join_texts(const Value& receiver, const Arguments& arguments, Meter& meter) {
  const auto bound = arguments.bind("join", {"items"});
  std::string result;
  bool first = true;
  for (const Value& item : elements(bound[0], meter)) {
    const std::string& text = want_text(item, "join()");
    meter.charge(text.size() + receiver.text()->size());
    if (!first) result += *receiver.text();
    result += text;
    first = false;
  }
  return new_text(std::move(result), meter);
}

Value get_entry(const Value& receiver, const Arguments& arguments, Meter& meter) {
  const auto bound = arguments.bind("get", {"key", "default"});
  meter.charge(receiver.dict()->entries.size());
  const Value* found = bound[0].text() ? receiver.dict()->find(*bound[0].text()) : nullptr;
  if (found) return *found;
  return bound[1].undefined() ? Value(None()) : bound[1];
}

Value items(const Value& receiver, const Arguments& arguments, Meter& meter) {
  arguments.bind("items", {});
  std::vector<Value> pairs;
  for (const auto& [key, value] : receiver.dict()->entries) {
    pairs.push_back(new_list({new_text(key, meter), value}, meter, /*is_tuple=*/true));
  }
  return new_list(std::move(pairs), meter);
}

Value keys(const Value& receiver, const Arguments& arguments, Meter& meter) {
  arguments.bind("keys", {});
  return new_list(elements(receiver, meter), meter);
}

Value values(const Value& receiver, const Arguments& arguments, Meter& meter) {
  arguments.bind("values", {});
  std::vector<Value> result;
  for (const auto& [key, value] : receiver.dict()->entries) result.push_back(value);
  return new_list(std::move(result), meter);
}

const Methods& methods_of(const Value& receiver) {
  static const Methods none;
  static const Methods of_text = {{"strip", strip<true, true>},
                                  {"lstrip", strip<true, false>},
                                  {"rstrip", strip<false, true>},
                                  {"split", split_text},
                                  {"splitlines", splitlines},
                                  {"startswith", has_affix<false>},
                                  {"endswith", has_affix<true>},
                                  {"upper", change_case<upper>},
                                  {"lower", change_case<lower>},
                                  {"capitalize", change_case<capitalize>},
                                  {"replace", replace_text},
                                  {"find", find_text<false>},
                                  {"rfind", find_text<true>},
                                  {"count", count_text},
                                  {"join", join_texts}};
  static const Methods of_dict = {
      {"get", get_entry}, {"items", items}, {"keys", keys}, {"values", values}};
  if (receiver.text()) return of_text;
  return receiver.dict() ? of_dict : none;
}

}  // namespace

bool has_method(const Value& receiver, std::string_view name) {
  return methods_of(receiver).contains(name);
}

Value call_method(const Value& receiver, std::string_view name, const Arguments& arguments,
                  Meter& meter) {
  const Methods& methods = methods_of(receiver);
  const auto found = methods.find(name);
  if (found == methods.end()) {
    throw Failure(
        detail::formatted("the method '{}' of {} is not supported", name, receiver.kind()));
  }
  return found->second(receiver, arguments, meter);
}

}  // namespace slice::detail::jinja
