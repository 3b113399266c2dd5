#pragma once

#include <ATen/core/Tensor.h>

#include <memory>

#include "libslice/model/norm.h"

namespace slice::kernels {
struct DecodeAttention;
struct DecodeLinear;
}  // namespace slice::kernels

namespace slice::detail {

/// Where the products, the attention and the LayerNorms of a decoding step go: on the current stream at once, or into
/// a list that cuda/decode_step.h runs as one kernel.
class StepKernels {
 public:
  /// One after the other.
  StepKernels();
  /// Together, where one kernel runs all of them. Tensors that they read or write may go before:
  /// their memory is used again in the list's order.
  /// @param workspace  that the list is in, to be kept for all replays of it: made where undefined or
  ///                   too small, in memory of its own where this is no capture
  explicit StepKernels(at::Tensor& workspace);
  ~StepKernels();

  void run(const kernels::DecodeLinear& linear);
  void run(const kernels::DecodeAttention& attention);
  /// A norm that takes the mean out, of x (n, k), which products read.
  /// @return  (n, k), to be kept until the last of them is launched
  at::Tensor normed(const at::Tensor& x, const Norm& norm);
  /// Before any other kernel of the step: launches what is in the list, one after the other, and then
  /// all that comes.
  void flush();
  /// At the end: launches what is in the list.
  void finish();

 private:
  struct List;
  std::unique_ptr<List> list_;  // nullptr: at once
};

}  // namespace slice::detail
