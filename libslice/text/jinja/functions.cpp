#include "libslice/text/jinja/functions.h"

#include <ctime>
#include <map>

#include "libslice/base/detail/formatted.h"
#include "libslice/text/jinja/print.h"

namespace slice::detail::jinja {
namespace {

using Function = Value (*)(const Arguments& arguments, Meter& meter);

constexpr int64_t kMaxRange = 100000;  // as Jinja's sandbox

Value range(const Arguments& arguments, Meter& meter) {
  const auto bound = arguments.bind("range", {"start", "stop", "step"});
  const auto integer = [&](size_t place, int64_t absent) {
    const Value& value = bound[place];
    if (value.undefined() && place > 0) return absent;
    if (!value.as_integer()) {
      throw Failure(detail::formatted("range(): want integers, got {}", value.kind()));
    }
    return *value.as_integer();
  };
  const bool has_stop = !bound[1].undefined();
  const int64_t start = has_stop ? integer(0, 0) : 0;
  const int64_t stop = has_stop ? integer(1, 0) : integer(0, 0);
  const int64_t step = integer(2, 1);
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
  return new_list(std::move(items), meter);
}

Value dict(const Arguments& arguments, Meter& meter) {
  if (!arguments.positional.empty()) throw Failure("dict() takes named arguments only");
  meter.charge(arguments.named.size() * Meter::kElement);
  return Value::dict(arguments.named);
}

Value raise_exception(const Arguments& arguments, Meter& meter) {
  const auto bound = arguments.bind("raise_exception", {"message"});
  throw Failure("the template refuses: " + to_text(bound[0], meter));
}

Value strftime_now(const Arguments& arguments, Meter& meter) {
  const auto bound = arguments.bind("strftime_now", {"format"});
  const std::string& format = want_text(bound[0], "strftime_now()");
  if (format.empty()) return "";
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  char buffer[256];
  const size_t written = std::strftime(buffer, sizeof(buffer), format.c_str(), &local);
  if (written == 0) throw Failure("strftime_now(): nothing, or more than 255 bytes");
  return new_text({buffer, written}, meter);
}

const std::map<std::string_view, Function>& functions() {
  static const std::map<std::string_view, Function> table = {
      {"range", range},
      {"dict", dict},
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
