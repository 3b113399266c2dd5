#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>

namespace slice {

/// The residual stream of all calibration tokens, in one buffer wide enough for the unsliced
/// signal: a sliced signal lives in its first k columns. Passes run in fixed chunks of windows, in
/// token order, and in place.
class Stream {
 public:
  using Step = std::function<at::Tensor(const at::Tensor& chunk)>;

  /// @param tokens  (N, T) int64        @param chunk_tokens  a chunk holds as many windows as fit,
  /// at least one
  /// @param embed   (n, T) ids → (n, T, D)
  Stream(const at::Tensor& tokens, int64_t chunk_tokens, const Step& embed);

  /// Replaces every chunk (n, T, width) by step(chunk) (n, T, any width ≤ D).
  void transform(const Step& step);
  /// Replaces the signal z by z P, P (width, k) float64. Products in float32, in float64 for a
  /// float64 signal.
  void project(const at::Tensor& P);
  /// Shows every chunk to `see`.
  void visit(const std::function<void(const at::Tensor& chunk)>& see) const;

  int64_t tokens() const { return buffer_.size(0) * buffer_.size(1); }
  int64_t width() const { return width_; }

 private:
  at::Tensor buffer_;  // (N, T, D)
  int64_t windows_, width_;
};

}  // namespace slice
