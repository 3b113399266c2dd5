#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <vector>

#include "libslice/method/signal.h"

namespace slice::detail {

/// The storage of a signal, (N, T, D): windows are copied to the device that computes and back, at
/// most D columns of them in use.
class SignalRows {
 public:
  SignalRows() = default;
  SignalRows(const SignalRows&) = delete;
  virtual ~SignalRows() = default;

  /// Windows begin … end, (n, T, width) within (n, T, D): strides are the same wherever the rows
  /// are kept, since products may depend on them. Valid until the next read.
  /// @throws c10::OutOfMemoryError, Error  nothing was changed
  virtual at::Tensor read(int64_t begin, int64_t end, int64_t width) = 0;
  /// Begins to fetch what the next read is likely to ask for, while the last one's is computed
  /// with.
  virtual void fetch(int64_t /*begin*/, int64_t /*end*/, int64_t /*width*/) {}
  /// Puts rows (n, T, k ≤ D) into the windows from `begin` on. After a read of them it allocates no
  /// device memory for rows of the signal's dtype: a step that ran out of memory here would run
  /// twice.
  virtual void write(int64_t begin, const at::Tensor& rows) = 0;
  /// Frees device memory that smaller chunks do not need.
  virtual void release() {}
};

/// @param room  N, T, D      @param tensors  of the rows on the device that computes
/// @param scratch  directory of a file; empty: the system's temporary one
std::unique_ptr<SignalRows> make_signal_rows(SignalPlace place, const std::vector<int64_t>& room,
                                             const at::TensorOptions& tensors,
                                             const std::filesystem::path& scratch);

}  // namespace slice::detail
