#pragma once

#include <mutex>

#include "libslice/decode/engine_statistics.h"

namespace slice::detail {

/// Statistics that one thread changes and others read.
class LiveStatistics {
 public:
  template <typename Change>
  void change(Change&& change) {
    const std::scoped_lock lock(mutex_);
    change(statistics_);
  }
  EngineStatistics read() const {
    const std::scoped_lock lock(mutex_);
    return statistics_;
  }

 private:
  mutable std::mutex mutex_;
  EngineStatistics statistics_;
};

}  // namespace slice::detail
