#pragma once

#include <vector>

#include "libslice/model/adapter.h"
#include "libslice/model/config.h"
#include "libslice/model/linear.h"
#include "libslice/model/mlp.h"

namespace slice {

/// A feed-forward network of a mixture, and what it writes with.
struct Expert {
  Mlp network;
  Linear down;
};

/// A mixture of experts: the router's logits become shares by a softmax over all experts, every
/// token goes through the experts with the largest shares, and what these write is added, each
/// times its share.                          (arXiv 1701.06538, §2; docs/method.md, "Experts")
///
///   y = Σ_{e among the largest} p_e · down_e(act(gate_e(n)) · up_e(n)),    p = softmax(router(n))
class Experts {
 public:
  /// @param router  (E, k), E = experts.size()
  Experts(const ExpertSizes& sizes, Linear router, std::vector<Expert> experts)
      : sizes_(sizes), router_(std::move(router)), experts_(std::move(experts)) {}

  /// normed (…, k) → (…, k_b). The experts run one after the other, each on its own tokens; those
  /// without tokens do not run. Shares in float32 at least.
  /// Cost: of every token the router and `per_token` networks; waits for the device once.
  at::Tensor forward(const at::Tensor& normed) const;
  /// Shows what experts first … last − 1 make of their tokens.
  void show(const at::Tensor& normed, int64_t first, int64_t last, const SeeExpert& see) const;

 private:
  /// Pairs of a token and an expert that it goes through, in the order of the experts.
  struct Routes {
    at::Tensor tokens;               ///< (N·per_token) int64
    at::Tensor shares;               ///< (N·per_token)
    std::vector<int64_t> beginning;  ///< (E + 1) of each expert's pairs
  };
  /// n (N, k)
  Routes routes(const at::Tensor& n) const;

  ExpertSizes sizes_;
  Linear router_;
  std::vector<Expert> experts_;
};

}  // namespace slice
