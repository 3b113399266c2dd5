#pragma once

#include <future>
#include <system_error>
#include <thread>
#include <utility>

#include "libslice/base/detail/check.h"

namespace slice::detail {

/// std::thread. @throws Error  the system has no more threads
template <typename Work>
std::thread start_thread(Work work) {
  try {
    return std::thread(std::move(work));
  } catch (const std::system_error& error) {
    throw Error(formatted("cannot start a thread: {}", error.what()));
  }
}

/// std::async in a thread of its own. @throws Error  the system has no more threads
template <typename Work>
auto run_aside(Work work) {
  try {
    return std::async(std::launch::async, std::move(work));
  } catch (const std::system_error& error) {
    throw Error(formatted("cannot start a thread: {}", error.what()));
  }
}

}  // namespace slice::detail
