#pragma once

#include <chrono>
#include <exception>
#include <thread>
#include <utility>

namespace slice::detail {

/// Runs what must be done, such as to tell a client that its request has ended, until there is memory
/// for it: again after what it throws, for a second at most. What it did before it threw is done
/// again. Throws what the last attempt throws.
template <typename Work>
void insist(Work&& work) {
  constexpr int kAttempts = 100;
  constexpr std::chrono::milliseconds kPause{10};
  for (int attempt = 1;; ++attempt) {
    try {
      return std::forward<Work>(work)();
    } catch (const std::exception&) {
      if (attempt == kAttempts) throw;
    }
    std::this_thread::sleep_for(kPause);
  }
}

}  // namespace slice::detail
