#include "libslice/text/stop_strings.h"

#include <algorithm>
#include <utility>

#include "libslice/base/detail/check.h"

namespace slice {

StopStrings::StopStrings(std::vector<std::string> strings) : strings_(std::move(strings)) {
  for (const std::string& string : strings_)
    SLICE_ARGUMENT_CHECK(!string.empty(), "stop strings: want at least one character in each");
}

std::string StopStrings::push(std::string_view piece) {
  if (stopped()) return {};
  pending_ += piece;
  size_t begin = std::string::npos, end = std::string::npos;
  for (const std::string& string : strings_) {
    const size_t at = pending_.find(string);
    if (at == std::string::npos) continue;
    const size_t after = at + string.size();
    if (after > end || (after == end && at >= begin)) continue;
    begin = at;
    end = after;
    found_ = string;
  }
  const size_t size = stopped() ? begin : pending_.size() - held_back();
  std::string text = pending_.substr(0, size);
  pending_.erase(0, stopped() ? pending_.size() : size);
  return text;
}

std::string StopStrings::finish() { return std::exchange(pending_, {}); }

/// Bytes at the end that one of the strings begins with.
size_t StopStrings::held_back() const {
  size_t most = 0;
  const std::string_view text = pending_;
  for (const std::string& string : strings_) {
    for (size_t size = std::min(string.size() - 1, text.size()); size > most; --size) {
      if (text.ends_with(std::string_view(string).substr(0, size))) most = size;
    }
  }
  return most;
}

}  // namespace slice
