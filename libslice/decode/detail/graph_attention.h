#pragma once

#include <ATen/core/Tensor.h>

#include <map>

#include "libslice/decode/detail/decode_model.h"
#include "libslice/model/kv_cache.h"

namespace slice::detail {

class StepKernels;

/// Attention of a decoding step on a CUDA device, by cuda/decode_attention.h.
class GraphAttention {
 public:
  /// @param positions  (B) int32 on the device, of the new tokens; all three must outlive this
  GraphAttention(const DecodeModel& model, const KvCache& cache, const at::Tensor& positions);

  /// Makes the memory that `rows` rows need, which launches of as many use from then on.
  void prepare(int64_t rows);
  /// qkv (rows, (h + 2·kv)·d), which it may write to → (rows, h·d); the new rows go to the cache
  at::Tensor operator()(StepKernels& kernels, const at::Tensor& qkv, int64_t layer) const;

 private:
  int64_t splits(int64_t rows) const;

  const DecodeModel& model_;
  const KvCache& cache_;
  const at::Tensor& positions_;
  std::map<int64_t, at::Tensor> workspaces_;  // by the number of rows
};

}  // namespace slice::detail
