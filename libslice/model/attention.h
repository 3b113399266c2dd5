#pragma once

#include "libslice/model/config.h"
#include "libslice/model/kv_cache.h"
#include "libslice/model/linear.h"
#include "libslice/model/norm.h"
#include "libslice/model/rotary.h"

namespace slice {

/// What scores are made of, and what a query sees.
struct AttentionScores {
  int64_t window = 0;                          ///< positions, the query's own the last; 0: all
  std::optional<double> scale = std::nullopt;  ///< of q·k; absent: 1 / √d
  double softcap = 0;  ///< c: a score s becomes c · tanh(s / c); 0: it stays
};

/// softmax(scale · q Kᵀ) V of queries at the positions from `first` on, by LibTorch. With a soft
/// cap the scores (B, h, T, first + T) are held in memory.
///
/// @param q  (B, h, T, d)     @param k, v  (B, kv, first + T, d), kv a divisor of h
/// @return   (B, h, T, d)
at::Tensor attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, int64_t first,
                  const AttentionScores& scores);

/// The modules of one layer's attention, without the output projection.
struct AttentionParts {
  Linear q, k, v;
  Norm q_norm{nullptr}, k_norm{nullptr};  ///< empty without HeadNorm
};

/// Causal multi-head attention without its output projection: the input of the sublayer's writer.
/// Grouped queries: h / kv_heads query heads share a key/value head. With a sliding window a query
/// sees only the last positions within it, itself included.
class Attention {
 public:
  Attention(const ModelConfig& config, int64_t layer, AttentionParts parts);

  /// @param normed  (B, T, k)      @param cache  earlier positions, appended to; or nullptr
  /// @return        (B, T, h·d) concatenated heads
  at::Tensor hidden(const at::Tensor& normed, KvCache* cache) const;

 private:
  /// x (B, T, heads·d) → (B, T, heads, d)
  at::Tensor split(const at::Tensor& x) const;
  /// q (B, h, T, d) of the positions from `first` on, grown by them.
  at::Tensor grown(const at::Tensor& q, int64_t first) const;
  /// Queries or keys of the positions from `first` on: x (B, T, heads·d) → (B, heads, T, d)
  at::Tensor turned(const at::Tensor& x, const Norm& norm, int64_t first) const;

  int64_t layer_, head_size_;
  HeadNorm head_norm_;
  bool norms_turned_;
  std::optional<QueryGrowth> growth_;
  AttentionScores scores_;
  AttentionParts parts_;
  std::optional<Rotary> rotary_;  // none where heads do not turn
};

}  // namespace slice
