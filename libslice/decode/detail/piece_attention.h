#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace slice {
struct AttentionScores;
}

namespace slice::detail {

/// Causal attention of pieces of texts that lie one after another, on a CUDA device. The queries of
/// a piece follow one another, and the last of them is of the last of the piece's keys. LibTorch's
/// fused attention of many lengths, piece by piece for heads that it does not take.
class PieceAttention {
 public:
  /// @param query_starts  where each piece begins among all queries, and their number
  /// @param key_starts    the same of all keys
  PieceAttention(std::vector<int32_t> query_starts, std::vector<int32_t> key_starts,
                 at::Device device);

  /// q (N, h, d), k and v (M, kv, d), each head's d numbers in a row → (N, h, d)
  at::Tensor operator()(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                        const AttentionScores& scores) const;

 private:
  at::Tensor efficient(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                       const AttentionScores& scores) const;
  at::Tensor piece_by_piece(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const AttentionScores& scores) const;

  const std::vector<int32_t> query_starts_, key_starts_;
  const at::Tensor queries_, keys_;  // the same on the device
  const int64_t longest_queries_, longest_keys_;
};

}  // namespace slice::detail
