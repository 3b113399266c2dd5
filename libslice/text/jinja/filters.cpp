#include "libslice/text/jinja/filters.h"

#include <algorithm>
#include <charconv>

#include "libslice/base/detail/formatted.h"
#include "libslice/text/jinja/access.h"
#include "libslice/text/jinja/text.h"

namespace slice::detail::jinja {
namespace {

const Filters& filters() {
  static const Filters table = [] {
    Filters all;
    for (const Filters* some : {&text_filters(), &number_filters(), &sequence_filters(),
                                &order_filters(), &selection_filters()}) {
      all.insert(some->begin(), some->end());
    }
    return all;
  }();
  return table;
}

Value part_of(std::string_view part) {
  const bool is_number =
      !part.empty() && std::ranges::all_of(part, [](char c) { return c >= '0' && c <= '9'; });
  int64_t index = 0;
  if (is_number && std::from_chars(part.begin(), part.end(), index).ec == std::errc()) return index;
  return std::string(part);
}

}  // namespace

bool has_filter(std::string_view name) { return filters().contains(name); }

Value apply_filter(std::string_view name, const Value& subject, const Arguments& arguments,
                   Meter& meter) {
  meter.charge(Meter::kStep);
  const auto found = filters().find(name);
  if (found == filters().end()) {
    throw Failure(detail::formatted("the filter '{}' is not supported", name));
  }
  return found->second(subject, arguments, meter);
}

Value attribute_of(const Value& item, const Value& attribute, Meter& meter) {
  if (attribute.is_absent() || attribute.is_none()) return item;
  if (attribute.integer()) return get_item(item, attribute, meter);
  const std::string& path = want_text(attribute, "attribute");
  meter.charge(path.size() * 4);
  Value value = item;
  for (const std::string_view part : split(path, ".", -1)) {
    value = get_item(value, part_of(part), meter);
  }
  return value;
}

}  // namespace slice::detail::jinja
