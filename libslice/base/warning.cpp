#include "libslice/base/warning.h"

#include <algorithm>
#include <mutex>
#include <utility>

#include "libslice/base/detail/warn.h"

namespace slice {
namespace {

std::mutex handler_mutex;

WarningHandler& the_handler() {
  static auto* const handler = new WarningHandler;  // never destroyed: a thread may outlive main()
  return *handler;
}

}  // namespace

WarningHandler set_warning_handler(WarningHandler handler) {
  const std::lock_guard lock(handler_mutex);
  return std::exchange(the_handler(), std::move(handler));
}

namespace detail {

void warn_text(const std::string& message) {
  const std::lock_guard lock(handler_mutex);
  if (const auto& handler = the_handler()) handler(message);
}

std::string shortened(const std::vector<std::string>& items) {
  constexpr size_t kMostListed = 3;
  std::string text;
  for (size_t i = 0; i < std::min(items.size(), kMostListed); ++i) {
    text += (i > 0 ? ", " : "") + items[i];
  }
  if (items.size() > kMostListed) text += formatted(" and {} more", items.size() - kMostListed);
  return text;
}

}  // namespace detail
}  // namespace slice
