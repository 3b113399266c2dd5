#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "libslice/device/device.h"
#include "libslice/method/plan.h"

namespace slice {

namespace detail {
class SignalRows;
}

/// "device", "host" or "disk".
const char* signal_place_name(SignalPlace place);

/// The first place with room for a signal: the device, beside the working memory of the loop
/// (working_memory.h); four fifths of what the host has free; the disk.
SignalPlace signal_place(int64_t signal_bytes, int64_t working_bytes, const FreeMemory& free);

struct SignalOptions {
  /// Told the new size in tokens whenever chunks are halved.
  std::function<void(int64_t chunk_tokens)> on_smaller_chunks = {};
  int64_t working_bytes = 0;                        ///< that the loop takes on the device beside it
  std::optional<SignalPlace> place = std::nullopt;  ///< absent: the first with room
  int64_t processes = 1;                            ///< that share the host, each with a signal
  std::filesystem::path scratch = {};  ///< directory of a file; empty: the system's temporary one
};

/// The residual stream of all calibration tokens, in one buffer wide enough for the unsliced
/// signal: a sliced signal lives in its first k columns. It is read and replaced in chunks of whole
/// windows, in token order. Where the device has no room for the buffer, chunks are copied there
/// and back while their neighbours are computed; the bits are the same. A chunk for which the
/// device has no memory is tried again in halves, and chunks stay small from then on; a step must
/// therefore allocate what it needs before it changes anything of its own, and must not keep the
/// chunk.
class Signal {
 public:
  using Step = std::function<at::Tensor(const at::Tensor& chunk)>;
  using Rows = std::function<at::Tensor(int64_t begin, int64_t end)>;

  /// @param tokens        (N, T) int64
  /// @param chunk_tokens  a chunk holds as many windows as fit into it, at least one
  /// @param embed         (n, T) ids → (n, T, D)
  /// @throws ShapeError   tokens of another shape
  /// @throws DeviceError  no memory for the buffer, or, here and later, for a single window
  /// @throws Error        no room on the disk (names the file's directory)
  Signal(const at::Tensor& tokens, int64_t chunk_tokens, const Step& embed,
         SignalOptions options = {});

  /// A saved signal, (N, T, width), with room for (N, T, D).
  /// @param room   N, T, D
  /// @param saved  the rows of windows begin … end, (n, T, width), any device
  Signal(at::IntArrayRef room, const at::TensorOptions& tensors, int64_t width,
         int64_t chunk_tokens, const Rows& saved, SignalOptions options = {});
  Signal(Signal&& other) noexcept;
  ~Signal();

  /// @throws ShapeError  not (N, T) int64 with at least one token.
  static void check_tokens(const at::Tensor& tokens);

  /// Replaces every chunk (n, T, width) by step(chunk) (n, T, any width ≤ D).
  void transform(const Step& step);
  /// Replaces the signal z by z P, P (width, k) float64. Products in float32, in float64 for a
  /// float64 signal; on a GPU a half-precision one is multiplied by P split into two terms of its
  /// type, with float32 sums.
  void project(const at::Tensor& P);
  /// Shows every chunk to `see`.
  void visit(const std::function<void(const at::Tensor& chunk)>& see);
  /// Shows the chunks of windows begin … end to `see`, beside the same tokens' of another signal.
  void visit_beside(
      const Signal& other, int64_t begin, int64_t end,
      const std::function<void(const at::Tensor& chunk, const at::Tensor& others)>& see);
  /// A copy, wherever there is room for it now.
  /// @throws DeviceError, Error  no memory, no room on the disk
  Signal clone() const;

  /// The signal of some windows, (n, T, width), on the device; valid until the next call.
  at::Tensor rows(int64_t begin, int64_t end) const;
  int64_t bytes() const;       ///< of the signal, (N, T, width)
  int64_t room_bytes() const;  ///< of (N, T, D)
  SignalPlace place() const { return place_; }
  at::ScalarType dtype() const { return tensors_.dtype().toScalarType(); }
  int64_t windows() const { return room_[0]; }
  int64_t window_tokens() const { return room_[1]; }
  int64_t tokens() const { return room_[0] * room_[1]; }
  int64_t width() const { return width_; }
  int64_t chunk_tokens() const { return chunk_windows_ * room_[1]; }
  /// Takes effect with the next transform or visit.
  void set_chunk_tokens(int64_t chunk_tokens);

 private:
  /// Chooses the place of (N, T, D), and allocates it there.
  void place_rows(const at::TensorOptions& tensors);
  /// Calls step(begin, end) for every chunk of the windows first … last.
  void in_chunks(int64_t first, int64_t last,
                 const std::function<void(int64_t begin, int64_t end)>& step);
  /// Windows begin … end, on the device; the chunk after them, up to `last`, is fetched ahead.
  at::Tensor chunk(int64_t begin, int64_t end, int64_t last) const;

  SignalOptions options_;
  std::vector<int64_t> room_;  // N, T, D
  at::TensorOptions tensors_;
  SignalPlace place_ = SignalPlace::kDevice;
  int64_t chunk_windows_ = 1, width_ = 0;
  std::unique_ptr<detail::SignalRows> rows_;
};

}  // namespace slice
