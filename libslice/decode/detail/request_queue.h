#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "libslice/decode/detail/request_state.h"

namespace slice::detail {

/// Requests that wait, by priority and then in the order they came. Guarded by its owner.
class RequestQueue {
 public:
  void push(std::shared_ptr<RequestState> state) {
    const int64_t urgency = -int64_t{state->request.priority};
    waiting_.emplace(std::pair(urgency, order_++), std::move(state));
  }
  /// The next one; there must be one.
  std::shared_ptr<RequestState> pop() {
    auto state = std::move(waiting_.begin()->second);
    waiting_.erase(waiting_.begin());
    return state;
  }
  /// Takes those out that were cancelled or whose deadline came.
  std::vector<std::shared_ptr<RequestState>> take_dead() {
    const auto now = RequestState::Clock::now();
    std::vector<std::shared_ptr<RequestState>> dead;
    dead.reserve(waiting_.size());  // so that none is lost for want of memory
    for (auto entry = waiting_.begin(); entry != waiting_.end();) {
      const bool dies = entry->second->cancelled() || entry->second->expired(now);
      if (dies) dead.push_back(std::move(entry->second));
      entry = dies ? waiting_.erase(entry) : std::next(entry);
    }
    return dead;
  }
  int64_t size() const { return static_cast<int64_t>(waiting_.size()); }
  bool empty() const { return waiting_.empty(); }

 private:
  std::map<std::pair<int64_t, uint64_t>, std::shared_ptr<RequestState>> waiting_;
  uint64_t order_ = 0;
};

}  // namespace slice::detail
