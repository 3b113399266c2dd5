#include "libslice/method/window_share.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>

#include "libslice/base/detail/check.h"
#include "libslice/method/covariance.h"

namespace slice::detail {

std::pair<int64_t, int64_t> window_share(int64_t n, int64_t T, const ProcessGroup& group) {
  SLICE_ARGUMENT_CHECK(n >= group.size(), "calibration: {} windows are too few for {} processes", n,
                       group.size());
  const int64_t windows = std::lcm(T, kCovarianceBlock) / T;  // that end with a block
  const int64_t each = n / group.size();
  const bool cheap = windows / 2 <= std::max<int64_t>(1, each / 16) && each >= 2 * windows;
  const auto edge = [&](int64_t rank) {
    const int64_t even = group.share(n, rank).first;
    return cheap && rank < group.size() ? (even + windows / 2) / windows * windows : even;
  };
  return {edge(group.rank()), edge(group.rank() + 1)};
}

at::Tensor share_of_windows(const at::Tensor& tokens, const ProcessGroup& group) {
  const auto [begin, end] = window_share(tokens.size(0), tokens.size(1), group);
  return tokens.slice(0, begin, end);
}

}  // namespace slice::detail
