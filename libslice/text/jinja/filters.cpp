#include "libslice/text/jinja/filters.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

#include "libslice/base/detail/formatted.h"
#include "libslice/text/jinja/access.h"
#include "libslice/text/jinja/methods.h"
#include "libslice/text/jinja/print.h"
#include "libslice/text/jinja/text.h"

namespace slice::detail::jinja {
namespace {

using Filter = Value (*)(const Value& subject, const Arguments& arguments, Meter& meter);

// Filters that are methods of strings, applied to the printed value.
template <const char* kMethod>
Value as_text(const Value& subject, const Arguments& arguments, Meter& meter) {
  return call_method(new_text(to_text(subject, meter), meter), kMethod, arguments, meter);
}
constexpr char kStrip[] = "strip", kUpper[] = "upper", kLower[] = "lower",
               kCapitalize[] = "capitalize", kReplace[] = "replace";

Value string(const Value& subject, const Arguments& arguments, Meter& meter) {
  arguments.bind("string", {});
  return new_text(to_text(subject, meter), meter);
}

Value unchanged(const Value& subject, const Arguments& arguments, Meter&) {
  arguments.bind("safe", {});
  return subject;
}

Value tojson(const Value& subject, const Arguments& arguments, Meter& meter) {
  const auto bound =
      arguments.bind("tojson", {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonOptions options;
  options.ascii_only = bound[0].truth();
  if (!bound[1].undefined() && !bound[1].is_none()) {
    if (!bound[1].as_integer()) throw Failure("tojson(): want an integer for 'indent'");
    options.indent = bound[1].as_integer();
    options.item_separator = ",";
  }
  if (!bound[2].undefined() && !bound[2].is_none()) {
    const List* pair = bound[2].list();
    if (!pair || pair->items.size() != 2) throw Failure("tojson(): want two 'separators'");
    options.item_separator = want_text(pair->items[0], "tojson()");
    options.key_separator = want_text(pair->items[1], "tojson()");
  }
  options.sort_keys = bound[3].truth();
  return new_text(to_json(subject, options, meter), meter);
}

Value length(const Value& subject, const Arguments& arguments, Meter& meter) {
  arguments.bind("length", {});
  if (subject.undefined()) return int64_t{0};
  if (subject.list()) return std::ssize(subject.list()->items);
  if (subject.dict()) return std::ssize(subject.dict()->entries);
  if (!subject.text()) throw Failure(detail::formatted("the length of {}", subject.kind()));
  meter.charge(subject.text()->size());
  return character_count(*subject.text());
}

std::optional<double> parsed_number(std::string_view text) {
  text = strip_left(strip_right(text));
  if (text.starts_with('+')) text.remove_prefix(1);
  double number = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), number);
  if (result.ec != std::errc() || result.ptr != text.data() + text.size()) return std::nullopt;
  return number;
}

Value to_integer(const Value& subject, const Arguments& arguments, Meter& meter) {
  const auto bound = arguments.bind("int", {"default"});
  const Value absent = bound[0].undefined() ? Value(int64_t{0}) : bound[0];
  if (subject.as_integer()) return *subject.as_integer();
  std::optional<double> number = subject.as_number();
  if (subject.text()) {
    meter.charge(subject.text()->size());
    std::string_view text = strip_left(strip_right(*subject.text()));
    if (text.starts_with('+')) text.remove_prefix(1);
    int64_t integer = 0;
    const auto result = std::from_chars(text.data(), text.data() + text.size(), integer);
    if (result.ec == std::errc() && result.ptr == text.data() + text.size()) return integer;
    number = parsed_number(*subject.text());
  }
  if (!number || std::isnan(*number)) return absent;
  if (std::abs(*number) >= 0x1p63) throw Failure("an integer past 64 bits");
  return static_cast<int64_t>(*number);
}

Value to_float(const Value& subject, const Arguments& arguments, Meter& meter) {
  const auto bound = arguments.bind("float", {"default"});
  if (subject.as_number()) return *subject.as_number();
  if (subject.text()) {
    meter.charge(subject.text()->size());
    if (const auto number = parsed_number(*subject.text())) return *number;
  }
  return bound[0].undefined() ? Value(0.0) : bound[0];
}

// attribute="a.b" of an item, for map, join, select and reject.
Value attribute_of(const Value& item, const Value& attribute, Meter& meter) {
  if (attribute.integer()) return get_item(item, attribute, meter);
  const std::string& path = want_text(attribute, "attribute");
  meter.charge(path.size() * 4);
  Value value = item;
  for (const std::string_view part : split(path, ".", -1)) {
    value = get_item(value, std::string(part), meter);
  }
  return value;
}

Value join(const Value& subject, const Arguments& arguments, Meter& meter) {
  const auto bound = arguments.bind("join", {"d", "attribute"});
  const std::string separator = to_text(bound[0], meter);
  std::vector<Value> texts;
  for (const Value& item : elements(subject, meter)) {
    const Value value = bound[1].undefined() ? item : attribute_of(item, bound[1], meter);
    texts.push_back(new_text(to_text(value, meter), meter));
  }
  return call_method(separator, "join", {{new_list(std::move(texts), meter)}}, meter);
}

template <bool kLast>
Value end_item(const Value& subject, const Arguments& arguments, Meter& meter) {
  arguments.bind(kLast ? "last" : "first", {});
  const std::vector<Value> items = elements(subject, meter);
  if (items.empty()) {
    return Value::undefined(
        detail::formatted("the {} item of an empty sequence", kLast ? "last" : "first"));
  }
  return kLast ? items.back() : items.front();
}

Value default_value(const Value& subject, const Arguments& arguments, Meter&) {
  const auto bound = arguments.bind("default", {"default_value", "boolean"});
  const bool absent = subject.undefined() || (bound[1].truth() && !subject.truth());
  if (!absent) return subject;
  return bound[0].undefined() ? Value("") : bound[0];
}

Value list(const Value& subject, const Arguments& arguments, Meter& meter) {
  arguments.bind("list", {});
  return new_list(elements(subject, meter), meter);
}

Value reverse(const Value& subject, const Arguments& arguments, Meter& meter) {
  arguments.bind("reverse", {});
  std::vector<Value> items = elements(subject, meter);
  std::ranges::reverse(items);
  if (!subject.text()) return new_list(std::move(items), meter);
  return call_method("", "join", {{new_list(std::move(items), meter)}}, meter);
}

Value items(const Value& subject, const Arguments& arguments, Meter& meter) {
  if (subject.undefined()) return new_list({}, meter);
  if (!subject.dict()) throw Failure(detail::formatted("the items of {}", subject.kind()));
  return call_method(subject, "items", arguments, meter);
}

// The arguments after the first `count`: those of a filter or test after its name.
Arguments after(const Arguments& arguments, size_t count) {
  Arguments rest = arguments;
  rest.positional.erase(rest.positional.begin(),
                        rest.positional.begin() + static_cast<std::ptrdiff_t>(count));
  return rest;
}

// select('test'), reject; selectattr('attribute', 'test'), rejectattr; the truth without a test.
template <bool kByAttribute, bool kWanted>
Value select(const Value& subject, const Arguments& arguments, Meter& meter) {
  const auto& positional = arguments.positional;
  if (kByAttribute && positional.empty()) throw Failure("selectattr() wants an attribute");
  const size_t test_at = kByAttribute ? 1 : 0;
  const bool has_test = positional.size() > test_at;
  const Arguments rest = has_test ? after(arguments, test_at + 1) : Arguments();
  std::vector<Value> kept;
  for (const Value& item : elements(subject, meter)) {
    const Value value = kByAttribute ? attribute_of(item, positional[0], meter) : item;
    const bool passes = has_test ? apply_test(want_text(positional[test_at], "the name of a test"),
                                              value, rest, meter)
                                 : value.truth();
    if (passes == kWanted) kept.push_back(item);
  }
  return new_list(std::move(kept), meter);
}

// map('filter', …) or map(attribute='a', default=…).
Value map_items(const Value& subject, const Arguments& arguments, Meter& meter) {
  std::vector<Value> results;
  if (!arguments.positional.empty()) {
    const std::string& name = want_text(arguments.positional[0], "the name of a filter");
    // The number of arguments would set the depth of the recursion.
    if (name == "map") throw Failure("map('map') is not supported");
    const Arguments rest = after(arguments, 1);
    for (const Value& item : elements(subject, meter)) {
      results.push_back(apply_filter(name, item, rest, meter));
    }
    return new_list(std::move(results), meter);
  }
  const auto bound = arguments.bind("map", {"attribute", "default"});
  check_defined(bound[0]);
  for (const Value& item : elements(subject, meter)) {
    const Value value = attribute_of(item, bound[0], meter);
    results.push_back(value.undefined() ? bound[1] : value);
  }
  return new_list(std::move(results), meter);
}

const std::map<std::string_view, Filter>& filters() {
  static const std::map<std::string_view, Filter> table = {
      {"trim", as_text<kStrip>},
      {"upper", as_text<kUpper>},
      {"lower", as_text<kLower>},
      {"capitalize", as_text<kCapitalize>},
      {"replace", as_text<kReplace>},
      {"string", string},
      {"safe", unchanged},
      {"tojson", tojson},
      {"length", length},
      {"count", length},
      {"int", to_integer},
      {"float", to_float},
      {"join", join},
      {"first", end_item<false>},
      {"last", end_item<true>},
      {"default", default_value},
      {"d", default_value},
      {"list", list},
      {"reverse", reverse},
      {"items", items},
      {"select", select<false, true>},
      {"reject", select<false, false>},
      {"selectattr", select<true, true>},
      {"rejectattr", select<true, false>},
      {"map", map_items},
  };
  return table;
}

}  // namespace

Value apply_filter(std::string_view name, const Value& subject, const Arguments& arguments,
                   Meter& meter) {
  meter.charge(Meter::kStep);
  const auto found = filters().find(name);
  if (found == filters().end()) {
    throw Failure(detail::formatted("the filter '{}' is not supported", name));
  }
  return found->second(subject, arguments, meter);
}

}  // namespace slice::detail::jinja
