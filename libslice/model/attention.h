#pragma once

#include "libslice/model/config.h"
#include "libslice/model/kv_cache.h"
#include "libslice/model/linear.h"
#include "libslice/model/rotary.h"

namespace slice {

/// softmax(q Kᵀ / √d) V of queries at the positions from `first` on, by LibTorch.
///
/// @param q       (B, h, T, d)     @param k, v  (B, kv, first + T, d), kv a divisor of h
/// @param window  positions that a query sees, itself the last; 0: all
/// @return        (B, h, T, d)
at::Tensor attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, int64_t first,
                  int64_t window);

/// Causal multi-head attention without its output projection: the input of the sublayer's writer.
/// Grouped queries: h / kv_heads query heads share a key/value head. With a sliding window a query
/// sees only the last positions within it, itself included.
class Attention {
 public:
  Attention(const ModelConfig& config, int64_t layer, Linear q, Linear k, Linear v);

  /// @param normed  (B, T, k)      @param cache  earlier positions, appended to; or nullptr
  /// @return        (B, T, h·d) concatenated heads
  at::Tensor hidden(const at::Tensor& normed, KvCache* cache) const;

 private:
  at::Tensor turn(const at::Tensor& x, int64_t first) const;

  int64_t layer_, heads_, kv_heads_, head_size_;
  int64_t window_ = 0;  // 0: none
  Linear q_, k_, v_;
  std::optional<Rotary> rotary_;  // none with learned positions
};

}  // namespace slice
