// The device side of detail/piece_attention.h.

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

#include "libslice/decode/detail/piece_attention.h"
#include "libslice/decode/detail/prefill.h"
#include "libslice/model/attention.h"

namespace slice::detail {

using at::Tensor;

namespace {

int64_t longest(const std::vector<int32_t>& starts) {
  int32_t most = 0;
  for (size_t i = 1; i < starts.size(); ++i) most = std::max(most, starts[i] - starts[i - 1]);
  return most;
}

}  // namespace

PieceAttention::PieceAttention(std::vector<int32_t> query_starts, std::vector<int32_t> key_starts,
                               at::Device device)
    : query_starts_(std::move(query_starts)),
      key_starts_(std::move(key_starts)),
      queries_(at::tensor(query_starts_, at::kInt).to(device)),
      keys_(at::tensor(key_starts_, at::kInt).to(device)),
      longest_queries_(longest(query_starts_)),
      longest_keys_(longest(key_starts_)) {}

Tensor PieceAttention::operator()(const Tensor& q, const Tensor& k, const Tensor& v,
                                  const AttentionScores& scores) const {
  constexpr int64_t kLargestFlashHead = 256, kEfficientAlignment = 4;
  const int64_t d = q.size(2);
  const bool single = q.scalar_type() == at::kFloat, capped = scores.softcap > 0;
  if (single && !capped && d % kEfficientAlignment == 0) return efficient(q, k, v, scores);
  if (single || capped || d % kFlashAlignment != 0 || d > kLargestFlashHead)
    return piece_by_piece(q, k, v, scores);
  return std::get<0>(at::_flash_attention_forward(
      q, k, v, queries_, keys_, longest_queries_, longest_keys_, /*dropout_p=*/0.0,
      /*is_causal=*/true, /*return_debug_mask=*/false, scores.scale,
      scores.window > 0 ? std::optional<int64_t>(scores.window - 1) : std::nullopt));
}

Tensor PieceAttention::efficient(const Tensor& q, const Tensor& k, const Tensor& v,
                                 const AttentionScores& scores) const {
  constexpr int64_t kCausalFromTheLast = 2;
  const int64_t repeat = q.size(1) / k.size(1);
  const auto heads = [&](const Tensor& x) {
    return x.repeat_interleave(repeat, 1).unsqueeze(0);  // (1, M, h, d)
  };
  return std::get<0>(at::_efficient_attention_forward(
                         q.unsqueeze(0), heads(k), heads(v), /*bias=*/{}, queries_, keys_,
                         longest_queries_, longest_keys_, /*dropout_p=*/0.0, kCausalFromTheLast,
                         /*compute_log_sumexp=*/false, scores.scale, /*seqlen_k=*/{},
                         scores.window > 0 ? std::optional<int64_t>(scores.window) : std::nullopt))
      .squeeze(0);
}

/// For heads that the fused kernels do not take.
Tensor PieceAttention::piece_by_piece(const Tensor& q, const Tensor& k, const Tensor& v,
                                      const AttentionScores& scores) const {
  std::vector<Tensor> pieces;
  for (size_t i = 1; i < query_starts_.size(); ++i) {
    const auto piece = [&](const Tensor& x, const std::vector<int32_t>& starts) {
      return x.slice(0, starts[i - 1], starts[i]).transpose(0, 1).unsqueeze(0);  // (1, h, T, d)
    };
    const Tensor queries = piece(q, query_starts_), keys = piece(k, key_starts_);
    pieces.push_back(
        attend(queries, keys, piece(v, key_starts_), keys.size(2) - queries.size(2), scores)
            .squeeze(0)
            .transpose(0, 1));
  }
  return at::cat(pieces);
}

}  // namespace slice::detail
