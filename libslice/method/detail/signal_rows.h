#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <vector>

#include "libslice/method/signal.h"

namespace slice::detail {

/// The storage of a stream, (N, T, D): windows come to the device that computes and go back, at
/// most D columns of them in use.
class SignalRows {
 public:
  SignalRows() = default;
  SignalRows(const SignalRows&) = delete;
  virtual ~SignalRows() = default;

  /// Windows begin … end, (n, T, width) in memory that has room for (n, T, D): strides are the same
  /// wherever the rows live, since products may depend on them. Until the next read.
  /// @throws c10::OutOfMemoryError, Error  nothing was changed
  virtual at::Tensor read(int64_t begin, int64_t end, int64_t width) = 0;
  /// Begins to bring what the next read is likely to want, while the last one's is computed with.
  virtual void fetch(int64_t /*begin*/, int64_t /*end*/, int64_t /*width*/) {}
  /// Puts rows (n, T, k ≤ D) into the windows from `begin` on. Behind a read of them it allocates
  /// no device memory for rows of the stream's dtype: what ran out of memory here would run twice.
  virtual void write(int64_t begin, const at::Tensor& rows) = 0;
  /// Gives memory on the device back that smaller chunks do not need.
  virtual void release() {}
};

/// @param room  N, T, D      @param tensors  of the rows on the device that computes
/// @param scratch  where a file goes; empty: the system's directory for such
std::unique_ptr<SignalRows> make_signal_rows(SignalPlace place, const std::vector<int64_t>& room,
                                             const at::TensorOptions& tensors,
                                             const std::filesystem::path& scratch);

}  // namespace slice::detail
