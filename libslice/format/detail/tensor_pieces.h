#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdint>

namespace slice::detail {

inline constexpr int64_t kPieceElements = int64_t{2} << 20;  ///< converted at a time: at most 16 MB

/// Calls `use` with views of at most kPieceElements, of whole rows where a row has no more, in
/// row-major order, whatever the strides.
template <typename Use>
void for_each_piece(const at::Tensor& tensor, const Use& use) {
  if (tensor.numel() <= kPieceElements) return use(tensor);
  const int64_t length = tensor.size(0);
  if (length == 1) return for_each_piece(tensor[0], use);
  const int64_t step = std::max<int64_t>(1, kPieceElements / (tensor.numel() / length));
  for (int64_t begin = 0; begin < length; begin += step) {
    for_each_piece(tensor.slice(0, begin, std::min(begin + step, length)), use);
  }
}

}  // namespace slice::detail
