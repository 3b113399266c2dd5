#include "libslice/text/jinja/methods.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "libslice/base/detail/formatted.h"
#include "libslice/text/jinja/compare.h"
#include "libslice/text/jinja/markup.h"
#include "libslice/text/jinja/objects.h"
#include "libslice/text/jinja/print.h"

namespace slice::detail::jinja {
namespace {

Value get_entry(const Value& receiver, const Arguments& arguments, Meter& meter) {
  const auto bound = arguments.bind("get", {"key", "default"});
  if (const Value* found = find_entry(*receiver.dict(), bound[0], meter)) return *found;
  return bound[1].is_absent() ? Value(None()) : bound[1];
}

template <Sequence kView>
Value view(const Value& receiver, const Arguments& arguments, Meter& meter) {
  arguments.bind("items, keys or values", {});
  std::vector<Value> items;
  for (const auto& [key, value] : receiver.dict()->entries) {
    items.push_back(kView == Sequence::kKeys     ? key
                    : kView == Sequence::kValues ? value
                                                 : new_list({key, value}, meter, Sequence::kTuple));
  }
  return new_list(std::move(items), meter, kView);
}

Value copy(const Value& receiver, const Arguments& arguments, Meter& meter) {
  arguments.bind("copy", {});
  if (receiver.list()) return new_list(elements(receiver, meter), meter);
  meter.charge(receiver.dict()->entries.size() * Meter::kElement);
  return Value::mapping(receiver.dict()->entries);
}

Value index_of(const Value& receiver, const Arguments& arguments, Meter& meter) {
  const auto bound = arguments.bind("index", {"value", "start", "stop"});
  const auto& items = receiver.list()->items;
  const auto size = std::ssize(items);
  const auto place = [&](const Value& value, int64_t absent) {
    const int64_t at = want_integer(value, "index()", absent);
    return std::clamp<int64_t>(at < 0 ? at + size : at, 0, size);
  };
  for (int64_t i = place(bound[1], 0); i < place(bound[2], size); ++i) {
    if (equal(items[i], bound[0], meter)) return i;
  }
  throw Failure("index(): the value is not in the list");
}

Value count(const Value& receiver, const Arguments& arguments, Meter& meter) {
  const auto bound = arguments.bind("count", {"value"});
  return std::ranges::count_if(receiver.list()->items,
                               [&](const Value& item) { return equal(item, bound[0], meter); });
}

Value decode(const Value& receiver, const Arguments& arguments, Meter& meter) {
  arguments.bind("decode", {"encoding", "errors"});
  std::string text;
  for (const Value& item : receiver.list()->items) text += static_cast<char>(*item.integer());
  return new_text(std::move(text), meter);  // made by encode(), so UTF-8
}

Value is_integer(const Value& receiver, const Arguments& arguments, Meter&) {
  arguments.bind("is_integer", {});
  return receiver.as_integer() || std::floor(*receiver.real()) == *receiver.real();
}

Value bit_length(const Value& receiver, const Arguments& arguments, Meter&) {
  arguments.bind("bit_length", {});
  if (!receiver.as_integer()) throw Failure("'bit_length' of a number is undefined");
  const int64_t number = *receiver.as_integer();
  const uint64_t size =
      number < 0 ? ~static_cast<uint64_t>(number) + 1 : static_cast<uint64_t>(number);
  return static_cast<int64_t>(std::bit_width(size));
}

// loop.cycle(…)
Value cycle(const Value& receiver, const Arguments& arguments, Meter&) {
  const auto& items = arguments.positional;
  if (items.empty() || !arguments.named.empty()) throw Failure("loop.cycle() wants its items");
  return items[receiver.loop()->index % items.size()];
}

// loop.changed(…)
Value changed(const Value& receiver, const Arguments& arguments, Meter& meter) {
  auto& seen = receiver.loop()->seen;
  const bool same = seen && std::ranges::equal(*seen, arguments.positional,
                                               [&](const Value& one, const Value& other) {
                                                 return equal(one, other, meter);
                                               });
  seen = arguments.positional;
  return !same;
}

Value next_turn(const Value& receiver, const Arguments& arguments, Meter&) {
  arguments.bind("next", {});
  Turns& turns = *receiver.turns();
  return turns.items[turns.calls++ % turns.items.size()];
}

Value reset_turns(const Value& receiver, const Arguments& arguments, Meter&) {
  arguments.bind("reset", {});
  receiver.turns()->calls = 0;
  return None();
}

const Methods& methods_of(const Value& receiver) {
  static const Methods none;
  static const Methods of_text = [] {
    Methods all = text_searches();
    all.insert(text_forms().begin(), text_forms().end());
    return all;
  }();
  static const Methods of_dict = {{"get", get_entry},
                                  {"items", view<Sequence::kItems>},
                                  {"keys", view<Sequence::kKeys>},
                                  {"values", view<Sequence::kValues>},
                                  {"copy", copy}};
  static const Methods of_list = {{"index", index_of}, {"count", count}, {"copy", copy}};
  static const Methods of_tuple = {{"index", index_of}, {"count", count}};
  static const Methods of_bytes = {{"index", index_of}, {"count", count}, {"decode", decode}};
  static const Methods of_number = {{"is_integer", is_integer}, {"bit_length", bit_length}};
  static const Methods of_loop = {{"cycle", cycle}, {"changed", changed}};
  static const Methods of_cycler = {{"next", next_turn}, {"reset", reset_turns}};
  if (receiver.text()) return of_text;
  if (receiver.dict()) return of_dict;
  if (receiver.as_number()) return of_number;
  if (receiver.loop()) return of_loop;
  if (receiver.turns() && !receiver.turns()->joins) return of_cycler;
  if (!receiver.list() || !receiver.list()->has_places()) return none;
  if (receiver.list()->type == Sequence::kList) return of_list;
  return receiver.list()->type == Sequence::kBytes ? of_bytes : of_tuple;
}

// What Python has beside, by the kind of the receiver: undefined would be another value.
std::string_view unsupported_of(const Value& receiver) {
  if (receiver.is_markup()) return " format_map maketrans unescape striptags escape ";
  if (receiver.text()) return " format_map maketrans ";
  if (receiver.real()) return " as_integer_ratio conjugate fromhex hex from_number ";
  if (receiver.as_number()) return " as_integer_ratio bit_count conjugate from_bytes to_bytes ";
  if (receiver.dict()) return " fromkeys ";
  if (!receiver.list()) return "";
  if (!receiver.list()->has_places()) return " isdisjoint mapping ";
  if (receiver.list()->type == Sequence::kRange) return " start stop step ";
  if (receiver.list()->type != Sequence::kBytes) return "";
  return " hex split strip startswith endswith upper lower find replace join ";
}

bool is_word_of(std::string_view words, std::string_view name) {
  return words.find(" " + std::string(name) + " ") != std::string_view::npos;
}

// As markupsafe: a Markup's methods escape the texts that they put into it.
Arguments escaped_arguments(std::string_view method, const Arguments& arguments, Meter& meter) {
  Arguments result = arguments;
  const auto escape = [&](Value& value) { value = new_markup(escaped(value, meter), meter); };
  auto& positional = result.positional;
  if (method == "replace" && positional.size() > 1) escape(positional[1]);
  const bool is_join = method == "join" && !positional.empty();
  if (is_join) {
    std::vector<Value> items = elements(positional[0], meter);
    std::ranges::for_each(items, escape);
    positional[0] = new_list(std::move(items), meter);
  }
  return result;
}

}  // namespace

bool has_method(const Value& receiver, std::string_view name) {
  if (methods_of(receiver).contains(name)) {
    return name != "bit_length" || receiver.as_integer();
  }
  if (is_word_of(unsupported_of(receiver), name)) {
    throw Failure(detail::formatted("'{}' of {} is not supported", name, receiver.kind()));
  }
  return false;
}

bool hides_entry(const Value& receiver, std::string_view name) {
  return receiver.dict() && is_word_of(" clear pop popitem setdefault update ", name);
}

Value call_method(const Value& receiver, std::string_view name, const Arguments& arguments,
                  Meter& meter) {
  const Methods& methods = methods_of(receiver);
  const auto found = methods.find(name);
  if (found == methods.end()) {
    throw Failure(
        detail::formatted("the method '{}' of {} is not supported", name, receiver.kind()));
  }
  if (!receiver.is_markup()) return found->second(receiver, arguments, meter);
  return as_markup(found->second(receiver, escaped_arguments(name, arguments, meter), meter),
                   meter);
}

}  // namespace slice::detail::jinja
