#include "libslice/model/experts.h"

#include <ATen/ATen.h>
#include <ATen/OpMathType.h>

namespace slice {

using at::Tensor;

Experts::Routes Experts::routes(const Tensor& n) const {
  const Tensor logits = router_->forward(n);  // (N, E)
  const auto [largest, chosen] = at::softmax(logits, -1, at::toOpMathType(logits.scalar_type()))
                                     .topk(sizes_.per_token, /*dim=*/-1);  // (N, c)
  const Tensor shares = sizes_.normalised ? largest / largest.sum(-1, /*keepdim=*/true) : largest;
  const Tensor order = at::argsort(chosen.flatten(), /*stable=*/true, /*dim=*/0, false);  // (N·c)
  const Tensor counts = at::bincount(chosen.flatten(), {}, sizes_.count).cpu();           // (E)
  Routes routes{.tokens = order.floor_divide(sizes_.per_token),
                .shares = shares.flatten().index_select(0, order),
                .beginning = {0}};
  for (int64_t e = 0; e < sizes_.count; ++e)
    routes.beginning.push_back(routes.beginning.back() + counts.const_data_ptr<int64_t>()[e]);
  return routes;
}

Tensor Experts::forward(const Tensor& normed) const {
  const Tensor n = normed.flatten(0, -2);  // (N, k)
  const Routes pairs = routes(n);
  std::vector<int64_t> shape = normed.sizes().vec();
  shape.back() = experts_.front().down->weight.size(0);
  Tensor y = at::zeros({n.size(0), shape.back()}, normed.options());  // (N, k_b)
  for (int64_t e = 0; e < sizes_.count; ++e) {
    const int64_t begin = pairs.beginning[e], end = pairs.beginning[e + 1];
    if (begin == end) continue;
    const Tensor own = pairs.tokens.slice(0, begin, end);                      // (m)
    const Tensor hidden = experts_[e].network.hidden(n.index_select(0, own));  // (m, F)
    const Tensor written = experts_[e].down->forward(hidden) *
                           pairs.shares.slice(0, begin, end).unsqueeze(1);  // (m, k_b)
    y.index_add_(0, own, written.to(y.scalar_type()));
  }
  return y.view(shape);
}

void Experts::show(const Tensor& normed, int64_t first, int64_t last, const SeeExpert& see) const {
  const Tensor n = normed.flatten(0, -2);  // (N, k)
  const Routes pairs = routes(n);
  for (int64_t e = first; e < last; ++e) {
    const int64_t begin = pairs.beginning[e], end = pairs.beginning[e + 1];
    const Tensor own = n.index_select(0, pairs.tokens.slice(0, begin, end));  // (m, k)
    see(e, {own, experts_[e].network.hidden(own), pairs.shares.slice(0, begin, end)});
  }
}

}  // namespace slice
