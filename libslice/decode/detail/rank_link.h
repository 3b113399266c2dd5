#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "libslice/decode/detail/rank_share.h"
#include "libslice/model/shortcut.h"

namespace slice::kernels {
struct PeerRanks;
}

namespace slice::detail {

/// What the layers of one rank of a divided model have to do with the other ranks: sums and columns,
/// by cuda/all_reduce.h, on the current stream. All ranks make the same calls in the same order.
class RankLink {
 public:
  /// @param peers  must outlive this
  explicit RankLink(const kernels::PeerRanks& peers);

  /// Whether this rank adds what only one may add: a low-rank shortcut's product.
  bool adds_once() const { return rank_ == 0; }
  /// part (n, k_b) → Σ over the ranks, with the shortcut of x (n, k_a) but for its products, which
  /// are in the parts already; in the memory of `part`.
  at::Tensor sum(const at::Tensor& part, const at::Tensor& x, const Shortcut& shortcut) const;
  /// part (n, k) → Σ over the ranks, in the same memory.
  at::Tensor sum(const at::Tensor& part) const;
  /// The columns of x (n, k) that a dense shortcut's part reads.
  at::Tensor own_columns(const at::Tensor& x) const {
    const auto [first, last] = aligned_part(x.size(1), ranks_, rank_);
    return x.slice(1, first, last);
  }
  /// The rows of a head (V, k) that are this rank's.
  Range own_words(int64_t vocabulary) const { return aligned_part(vocabulary, ranks_, rank_); }
  /// own (n, last − first), contiguous → logits (n, V), contiguous, written on every rank
  void gather_words(const at::Tensor& own, at::Tensor& logits) const;

 private:
  at::Tensor reduced(const at::Tensor& part, const at::Tensor& x, const at::Tensor& diagonal,
                     int64_t residual_columns) const;

  const kernels::PeerRanks& peers_;
  int64_t ranks_, rank_;
};

}  // namespace slice::detail
