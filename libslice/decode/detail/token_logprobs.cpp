#include "libslice/decode/detail/token_logprobs.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

namespace slice::detail {

using at::Tensor;

Tensor log_probabilities(const Tensor& logits) {
  const at::NoGradGuard no_grad;
  return at::log_softmax(logits.to(at::promote_types(logits.scalar_type(), at::kFloat)), -1);
}

std::vector<TokenLogprobs> token_logprobs(const Tensor& logprobs, std::span<const int64_t> ids,
                                          int64_t top) {
  const at::NoGradGuard no_grad;
  const auto t = static_cast<int64_t>(ids.size());
  top = std::min(top, logprobs.size(1));
  const Tensor own = at::tensor(at::IntArrayRef(ids.data(), ids.size()), at::kLong)
                         .to(logprobs.device())
                         .unsqueeze(1);                         // (t, 1)
  const auto [values, places] = logprobs.topk(top, /*dim=*/1);  // (t, top)
  const Tensor all_values =
      at::cat({logprobs.gather(1, own), values}, 1).to(at::kCPU, at::kDouble);  // (t, 1 + top)
  const Tensor all_ids = at::cat({own, places}, 1).cpu();                       // (t, 1 + top)
  std::vector<TokenLogprobs> result;
  for (int64_t i = 0; i < t; ++i) {
    const double* value = all_values[i].const_data_ptr<double>();
    const int64_t* id = all_ids[i].const_data_ptr<int64_t>();
    TokenLogprobs& token = result.emplace_back();
    token.id = id[0];
    token.logprob = value[0];
    for (int64_t k = 1; k <= top; ++k) token.top.emplace_back(id[k], value[k]);
  }
  return result;
}

}  // namespace slice::detail
