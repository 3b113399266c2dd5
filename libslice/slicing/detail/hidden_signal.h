#pragma once

#include <ATen/core/Tensor.h>

#include "libslice/model/adapter.h"

namespace slice::detail {

/// What the writers of one sublayer read, h (N, T, F) of the windows that moments are summed over,
/// kept from the moments to the refitted output where memory allows: attention and the readers then
/// run once. Otherwise, and for windows after those, it is computed again, the same up to rounding.
class HiddenSignal {
 public:
  /// @param windows  N
  explicit HiddenSignal(int64_t windows) : windows_(windows) {}

  /// h (n, T, F) of the windows from `window` on.
  void keep(int64_t window, const at::Tensor& h);
  /// From now on only these channels of it, (F') int64.
  void select(const at::Tensor& channels);
  /// h (n, T, F') of the windows from `window` on, whose signal is x (n, T, k).
  at::Tensor of(int64_t window, const Sublayer& s, const at::Tensor& x) const;
  /// Gives the memory back, before the next sublayer.
  void forget();

 private:
  int64_t windows_;
  bool refused_ = false;  // this sublayer's does not fit
  at::Tensor buffer_;     // (N, T, F), or undefined
  at::Tensor channels_;   // (F'), or undefined: all
};

}  // namespace slice::detail
