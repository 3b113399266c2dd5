#pragma once

#include <ATen/core/Tensor.h>

#include <utility>

#include "libslice/device/process_group.h"

namespace slice::detail {

/// Begin and end of this rank's share of n windows of T tokens. Where shares stay equal up to a
/// window or a sixteenth, they end where blocks of a covariance do: then the ranks' sums are those
/// of one rank, added in another order, whatever the signal's dtype.
/// @throws ArgumentError  fewer windows than ranks
std::pair<int64_t, int64_t> window_share(int64_t n, int64_t T, const ProcessGroup& group);

/// This rank's windows of tokens (N, T): a view.
at::Tensor share_of_windows(const at::Tensor& tokens, const ProcessGroup& group);

}  // namespace slice::detail
