#include "libslice/text/jinja/functions.h"

#include <ctime>
#include <map>

#include "libslice/base/detail/formatted.h"
#include "libslice/text/jinja/compare.h"
#include "libslice/text/jinja/objects.h"
#include "libslice/text/jinja/print.h"

namespace slice::detail::jinja {
namespace {

using Function = Value (*)(const Arguments& arguments, Meter& meter);

constexpr int64_t kMaxRange = 100000;  // as Jinja's sandbox

Value range(const Arguments& arguments, Meter& meter) {
  const auto bound = arguments.bind("range", {"start", "stop", "step"});
  const bool has_stop = !bound[1].is_absent();
  const int64_t start = has_stop ? want_integer(bound[0], "range()") : 0;
  const int64_t stop = want_integer(bound[has_stop ? 1 : 0], "range()");
  const int64_t step = want_integer(bound[2], "range()", 1);
  if (step == 0) throw Failure("range(): a step of 0");
  std::vector<Value> items;
  int64_t next = start;
  while (step > 0 ? next < stop : next > stop) {
    if (std::ssize(items) == kMaxRange) {
      throw Failure(detail::formatted("range(): more than {} numbers", kMaxRange));
    }
    items.emplace_back(next);
    if (__builtin_add_overflow(next, step, &next)) break;
  }
  meter.charge((items.size() + 1) * Meter::kElement);
  List result{std::move(items), Sequence::kRange};
  result.range = {start, stop, step};
  return result;
}

// dict(other, name=value, …): of another dict, or of pairs.
Value dict(const Arguments& arguments, Meter& meter) {
  if (arguments.positional.size() > 1) throw Failure("dict() takes one dict or list of pairs");
  std::vector<std::pair<Value, Value>> entries;
  if (!arguments.positional.empty() && arguments.positional[0].dict()) {
    meter.charge(arguments.positional[0].dict()->entries.size() * Meter::kElement);
    entries = arguments.positional[0].dict()->entries;
  } else if (!arguments.positional.empty()) {
    for (const Value& item : elements(arguments.positional[0], meter)) {
      const std::vector<Value> pair = elements(item, meter);
      if (pair.size() != 2) throw Failure("dict() wants pairs");
      put_entry(entries, pair[0], pair[1], meter);
    }
  }
  for (const auto& [name, value] : arguments.named) put_entry(entries, name, value, meter);
  return Value::mapping(std::move(entries));
}

Value cycler(const Arguments& arguments, Meter& meter) {
  if (arguments.positional.empty() || !arguments.named.empty()) {
    throw Failure("cycler() wants its items");
  }
  meter.charge((4 + arguments.positional.size()) * Meter::kElement);
  return Turns{false, arguments.positional, 0};
}

Value joiner(const Arguments& arguments, Meter& meter) {
  const auto bound = arguments.bind("joiner", {"sep"});
  meter.charge(4 * Meter::kElement);
  return Turns{true, {bound[0].is_absent() ? Value(", ") : bound[0]}, 0};
}

Value raise_exception(const Arguments& arguments, Meter& meter) {
  const auto bound = arguments.bind("raise_exception", {"message"});
  throw Failure("the template refuses: " + to_text(bound[0], meter));
}

// What C's strftime lacks or, for a time without a zone, writes otherwise than Python's.
std::string for_strftime(const std::string& format, int64_t microseconds) {
  std::string result;
  for (size_t i = 0; i < format.size(); ++i) {
    const char next = format[i] == '%' && i + 1 < format.size() ? format[i + 1] : '\0';
    const bool is_zone = next == 'z' || next == 'Z';
    if (next == 'f') {
      result += detail::formatted("{:06}", microseconds);
    } else if (next == '%') {
      result += "%%";
    } else if (!is_zone) {
      result += format[i];
      continue;
    }
    ++i;
  }
  return result;
}

Value strftime_now(const Arguments& arguments, Meter& meter) {
  const auto bound = arguments.bind("strftime_now", {"format"});
  std::timespec now{};
  std::timespec_get(&now, TIME_UTC);
  std::tm local{};
  localtime_r(&now.tv_sec, &local);
  const std::string format =
      for_strftime(want_text(bound[0], "strftime_now()"), now.tv_nsec / 1000);
  if (format.empty()) return "";
  char buffer[256];
  const size_t written = std::strftime(buffer, sizeof(buffer), format.c_str(), &local);
  if (written == 0) throw Failure("strftime_now(): nothing, or more than 255 bytes");
  return new_text({buffer, written}, meter);
}

const std::map<std::string_view, Function>& functions() {
  static const std::map<std::string_view, Function> table = {
      {"range", range},
      {"dict", dict},
      {"cycler", cycler},
      {"joiner", joiner},
      {"raise_exception", raise_exception},
      {"strftime_now", strftime_now},
  };
  return table;
}

}  // namespace

bool has_function(std::string_view name) { return functions().contains(name); }

Value call_function(std::string_view name, const Arguments& arguments, Meter& meter) {
  return functions().at(name)(arguments, meter);
}

}  // namespace slice::detail::jinja
