#include "libslice/text/jinja/objects.h"

#include <iterator>
#include <utility>

#include "libslice/base/detail/formatted.h"

namespace slice::detail::jinja {

void Iterator::fill() {
  if (!make) return;
  // Before the call: a generator that asks for itself finds nothing, and one that failed is over.
  const auto once = std::exchange(make, nullptr);
  items = once();
}

std::vector<Value> Iterator::take() {
  fill();
  const auto from = items.begin() + static_cast<std::ptrdiff_t>(next);
  std::vector<Value> left(std::make_move_iterator(from), std::make_move_iterator(items.end()));
  items.clear();
  next = 0;
  return left;
}

Value Iterator::take_one() {
  fill();
  return next < items.size() ? items[next++] : Value();
}

Value new_iterator(std::function<std::vector<Value>()> make, int depth, Meter& meter) {
  meter.charge(4 * Meter::kElement);
  return Iterator{std::move(make), depth};
}

void check_member(std::string_view name) {
  if (name.starts_with('_')) {
    throw Failure(detail::formatted("a namespace takes no member '{}'", name));
  }
}

}  // namespace slice::detail::jinja
