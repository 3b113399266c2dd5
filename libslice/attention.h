#pragma once

#include "libslice/config.h"
#include "libslice/kv_cache.h"
#include "libslice/linear.h"
#include "libslice/rotary.h"

namespace slice {

/// Causal multi-head attention up to, but not including, its output projection: what the writer of
/// the sublayer reads. Grouped queries: h / kv_heads query heads share a key/value head.
class Attention {
 public:
  Attention(const ModelConfig& config, int64_t layer, Linear q, Linear k, Linear v);

  /// @param normed  (B, T, k)      @param cache  earlier positions, appended to; or nullptr
  /// @return        (B, T, h·d) concatenated heads
  at::Tensor hidden(const at::Tensor& normed, KvCache* cache) const;

 private:
  int64_t layer_, heads_, kv_heads_, head_size_;
  Linear q_, k_, v_;
  Rotary rotary_;
};

}  // namespace slice
