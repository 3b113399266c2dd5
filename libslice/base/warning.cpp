#include "libslice/base/warning.h"

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

}  // namespace detail
}  // namespace slice
