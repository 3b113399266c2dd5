#pragma once

#include <mutex>

#include "libslice/decode/engine_statistics.h"
#include "libslice/decode/request.h"

namespace slice::detail {

/// Statistics that one thread changes and others read.
class LiveStatistics {
 public:
  template <typename Change>
  void change(Change&& change) {
    const std::scoped_lock lock(mutex_);
    change(statistics_);
  }
  /// One request more that ended, after so many seconds.
  void count_ended(Finish how, double seconds) {
    constexpr int64_t EngineStatistics::*kCounts[] = {
        &EngineStatistics::finished,  &EngineStatistics::finished, &EngineStatistics::finished,
        &EngineStatistics::cancelled, &EngineStatistics::expired,  &EngineStatistics::failed};
    change([&](EngineStatistics& s) {
      ++(s.*kCounts[static_cast<size_t>(how)]);
      s.request_seconds += seconds;
    });
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
