#pragma once

#include <c10/util/Exception.h>

#include <algorithm>
#include <catch2/catch_all.hpp>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <iostream>
#include <new>
#include <string>
#include <thread>

#include "libslice/base/error.h"
#include "tests/support/directory_contents.h"
#include "tests/support/faults.h"

namespace slice::tests {

inline size_t open_descriptors() { return names_in("/proc/self/fd").size(); }

inline int64_t threads() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    if (word != "Threads:") continue;
    int64_t count = 0;
    status >> count;
    return count;
  }
  return 0;
}

/// Whether so many threads are left soon: one that was joined is counted for a moment.
inline bool threads_end(int64_t count) {
  for (int attempt = 0; attempt < 200 && threads() != count; ++attempt)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  return threads() == count;
}

/// Runs something while a fault may come, and says how it ended: empty where it came to its end,
/// else the message. What is thrown must be an error of libslice, or, of memory alone, that of the
/// standard library or of LibTorch.
inline std::string outcome_of(const std::function<void()>& action, FaultKind kind) {
  const bool memory = kind == FaultKind::kAllocate || kind == FaultKind::kTensor;
  try {
    action();
    return {};
  } catch (const Error& error) {
    const std::string message = error.what();
    CHECK_FALSE(message.empty());
    return message;
  } catch (const std::bad_alloc&) {
    CHECK(memory);
    return "no memory";
  } catch (const c10::Error& error) {
    CHECK(memory);
    CHECK(std::string(error.what_without_backtrace()).find("allocate memory") != std::string::npos);
    return "no memory for a tensor";
  }
}

/// What one kind of fault did to an action.
struct FaultRuns {
  int64_t calls = 0;   ///< of a run without a fault
  int64_t points = 0;  ///< of them that were made to fail
  int64_t failed = 0;  ///< runs that ended in an error; the others did without
};

/// The next call to fail: every one of the first $SLICE_FAULTS, 16 where it is not set, then ever
/// fewer.
inline int64_t next_fault(int64_t at) {
  const char* given = std::getenv("SLICE_FAULTS");
  const int64_t first = given == nullptr ? 16 : std::max(1L, std::atol(given));
  return at < first ? at + 1 : at + std::max<int64_t>(1, 8 * at / first);
}

/// Lets `action` run again and again, its first, second, … call of a kind failing, until it comes
/// through without. No run may leak a descriptor or a thread.
/// @param prepare  comes before each run, `check` after it, with the message that it ended with;
///                 neither meets a fault
inline FaultRuns run_with_faults(FaultKind kind, const std::function<void()>& prepare,
                                 const std::function<void()>& action,
                                 const std::function<void(const std::string&)>& check) {
  prepare();
  action();  // what is made once is made here
  FaultRuns runs;
  bool happened = true;
  for (int64_t at = 1; happened; at = next_fault(at)) {
    CAPTURE(fault_name(kind), at);
    prepare();
    const size_t descriptors = open_descriptors();
    const int64_t before = threads();
    std::string message;
    {
      const Fault fault(kind, at);
      message = outcome_of(action, kind);
      happened = fault.happened();
      if (!happened) runs.calls = fault.calls();
    }
    CAPTURE(message);
    CHECK((happened || message.empty()));
    runs.points += happened ? 1 : 0;
    runs.failed += message.empty() ? 0 : 1;
    CHECK(open_descriptors() == descriptors);
    CHECK(threads_end(before));
    check(message);
  }
  return runs;
}

/// Prints the runs as a line of a table where SLICE_FAULT_TABLE is set.
inline void report_runs(const std::string& what, FaultKind kind, const FaultRuns& runs) {
  if (std::getenv("SLICE_FAULT_TABLE") != nullptr)
    std::cout << what << ',' << fault_name(kind) << ',' << runs.calls << ',' << runs.points << ','
              << runs.failed << std::endl;
}

}  // namespace slice::tests
