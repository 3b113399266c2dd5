#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>

namespace slice {

/// The residual stream of all calibration tokens, in one buffer wide enough for the unsliced
/// signal: a sliced signal lives in its first k columns. Passes run in chunks of whole windows, in
/// token order, and in place. A chunk for which the device has no memory is tried again in halves,
/// and chunks stay small from then on; a step that is given to a pass must therefore allocate what
/// it needs before it changes anything of its own.
class Stream {
 public:
  using Step = std::function<at::Tensor(const at::Tensor& chunk)>;

  /// @param tokens  (N, T) int64        @param chunk_tokens  a chunk holds as many windows as fit,
  /// at least one
  /// @param embed   (n, T) ids → (n, T, D)
  /// @param on_smaller_chunks  told the new size in tokens whenever chunks are halved
  /// @throws ShapeError  tokens of another shape    @throws DeviceError  no memory for the buffer,
  /// here, or for a single window, here and in every pass
  Stream(const at::Tensor& tokens, int64_t chunk_tokens, const Step& embed,
         std::function<void(int64_t chunk_tokens)> on_smaller_chunks = {});

  /// A signal that was kept: (N, T, width), of a stream with room for (N, T, D).
  /// @param rows  of windows begin … end, (n, T, width), any device
  Stream(at::IntArrayRef room, const at::TensorOptions& options, int64_t width,
         int64_t chunk_tokens, const std::function<at::Tensor(int64_t begin, int64_t end)>& rows,
         std::function<void(int64_t chunk_tokens)> on_smaller_chunks = {});

  /// @throws ShapeError  not (N, T) int64 with a token in it.
  static void check_tokens(const at::Tensor& tokens);

  /// Replaces every chunk (n, T, width) by step(chunk) (n, T, any width ≤ D).
  void transform(const Step& step);
  /// Replaces the signal z by z P, P (width, k) float64. Products in float32, in float64 for a
  /// float64 signal; on a GPU a half-precision one meets P split in two terms of its type, with
  /// float32 sums.
  void project(const at::Tensor& P);
  /// Shows every chunk to `see`.
  void visit(const std::function<void(const at::Tensor& chunk)>& see);
  /// Shows the chunks of windows begin … end to `see`, beside the same tokens' of another stream.
  void visit_beside(
      const Stream& other, int64_t begin, int64_t end,
      const std::function<void(const at::Tensor& chunk, const at::Tensor& others)>& see);
  /// A stream of its own with the same signal. @throws DeviceError  no memory for it.
  Stream clone() const;

  /// All of it, (N, T, width), a view.
  at::Tensor signal() const { return rows(0, windows()); }
  int64_t windows() const { return buffer_.size(0); }
  int64_t tokens() const { return buffer_.size(0) * buffer_.size(1); }
  int64_t width() const { return width_; }
  int64_t chunk_tokens() const { return chunk_windows_ * buffer_.size(1); }
  /// Other chunks from the next pass on.
  void set_chunk_tokens(int64_t chunk_tokens);

 private:
  /// Calls step(begin, end) for chunks of the windows first … last until all went by.
  void in_chunks(int64_t first, int64_t last, int64_t window_tokens,
                 const std::function<void(int64_t begin, int64_t end)>& step);
  /// The signal of some windows, (n, T, width).
  at::Tensor rows(int64_t begin, int64_t end) const;

  at::Tensor buffer_;  // (N, T, D)
  int64_t chunk_windows_, width_;
  std::function<void(int64_t)> on_smaller_chunks_;
};

}  // namespace slice
