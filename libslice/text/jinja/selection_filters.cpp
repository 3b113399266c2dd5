#include <algorithm>

#include "libslice/base/detail/formatted.h"
#include "libslice/text/jinja/compare.h"
#include "libslice/text/jinja/filters.h"
#include "libslice/text/jinja/objects.h"

namespace slice::detail::jinja {
namespace {

// Deep enough for what holds the arguments too.
int depth_of(const Value& subject, const Arguments& arguments) {
  int depth = subject.depth();
  for (const Value& value : arguments.positional) depth = std::max(depth, value.depth());
  for (const auto& [name, value] : arguments.named) depth = std::max(depth, value.depth());
  return depth + 1;
}

// The arguments after the first `count`: those of a filter or test after its name.
Arguments after(const Arguments& arguments, size_t count) {
  Arguments rest = arguments;
  rest.positional.erase(rest.positional.begin(),
                        rest.positional.begin() + static_cast<std::ptrdiff_t>(count));
  return rest;
}

// select('test'), reject; selectattr('attribute', 'test'), rejectattr; the truth without a test.
// Nothing of undefined, none and whatever else is false.
template <bool kByAttribute, bool kWanted>
Value select(const Value& subject, const Arguments& arguments, Meter& meter) {
  const auto make = [subject, arguments, &meter] {
    std::vector<Value> kept;
    if (!subject.truth()) return kept;
    const auto& positional = arguments.positional;
    if (kByAttribute && positional.empty()) throw Failure("selectattr() wants an attribute");
    const size_t test_at = kByAttribute ? 1 : 0;
    const bool has_test = positional.size() > test_at;
    const Arguments rest = has_test ? after(arguments, test_at + 1) : Arguments();
    for (const Value& item : elements(subject, meter)) {
      const Value value = kByAttribute ? attribute_of(item, positional[0], meter) : item;
      const bool passes =
          has_test
              ? apply_test(want_text(positional[test_at], "the name of a test"), value, rest, meter)
              : value.truth();
      if (passes == kWanted) kept.push_back(item);
    }
    return kept;
  };
  return new_iterator(make, depth_of(subject, arguments), meter);
}

std::vector<Value> mapped_attributes(const Value& subject, const Arguments& arguments,
                                     Meter& meter) {
  std::vector<Value> results;
  const auto bound = arguments.bind("map", {"attribute", "default"});
  if (bound[0].is_absent()) throw Failure("map() wants a filter or an attribute");
  const bool has_default = !bound[1].is_absent() && !bound[1].is_none();
  for (const Value& item : elements(subject, meter)) {
    const Value value = attribute_of(item, bound[0], meter);
    results.push_back(value.undefined() && has_default ? bound[1] : value);
  }
  return results;
}

// map('filter', …) or map(attribute='a', default=…).
Value map_items(const Value& subject, const Arguments& arguments, Meter& meter) {
  const auto make = [subject, arguments, &meter] {
    std::vector<Value> results;
    if (!subject.truth()) return results;
    if (arguments.positional.empty()) return mapped_attributes(subject, arguments, meter);
    const std::string& name = want_text(arguments.positional[0], "the name of a filter");
    // The number of arguments would set the depth of the recursion.
    if (name == "map") throw Failure("map('map') is not supported");
    const Arguments rest = after(arguments, 1);
    for (const Value& item : elements(subject, meter)) {
      results.push_back(apply_filter(name, item, rest, meter));
    }
    return results;
  };
  return new_iterator(make, depth_of(subject, arguments), meter);
}

}  // namespace

const Filters& selection_filters() {
  static const Filters table = {{"select", select<false, true>},
                                {"reject", select<false, false>},
                                {"selectattr", select<true, true>},
                                {"rejectattr", select<true, false>},
                                {"map", map_items}};
  return table;
}

}  // namespace slice::detail::jinja
