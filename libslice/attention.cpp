#include "libslice/attention.h"

#include <ATen/ATen.h>

namespace slice {

using at::Tensor;

namespace {

/// (B, kv, T, d) → (B, kv·repeat, T, d), each head `repeat` times in a row.
Tensor repeat_heads(const Tensor& x, int64_t repeat) {
  if (repeat == 1) return x;
  return x.unsqueeze(2)
      .expand({x.size(0), x.size(1), repeat, x.size(2), x.size(3)})
      .reshape({x.size(0), x.size(1) * repeat, x.size(2), x.size(3)});
}

}  // namespace

Attention::Attention(const ModelConfig& config, int64_t layer, Linear q, Linear k, Linear v)
    : layer_(layer),
      heads_(config.heads),
      kv_heads_(config.kv_heads),
      head_size_(config.head_size),
      q_(std::move(q)),
      k_(std::move(k)),
      v_(std::move(v)),
      rotary_(config.head_size, config.rope_theta, config.rope_scaling) {}

Tensor Attention::hidden(const Tensor& normed, KvCache* cache) const {
  const int64_t B = normed.size(0), T = normed.size(1), first = cache ? cache->length() : 0;
  const auto split = [&](const Linear& linear, int64_t heads) {
    return linear->forward(normed).view({B, T, heads, head_size_});
  };
  const Tensor q = rotary_.apply(split(q_, heads_), first).transpose(1, 2);  // (B, h, T, d)
  Tensor k = rotary_.apply(split(k_, kv_heads_), first).transpose(1, 2);     // (B, kv, T, d)
  Tensor v = split(v_, kv_heads_).transpose(1, 2);                           // (B, kv, T, d)
  if (cache) std::tie(k, v) = cache->append(layer_, k, v);  // (B, kv, first + T, d)

  c10::optional<Tensor> mask;
  if (first > 0 && T > 1) {  // query t of this call sees the earlier positions and t + 1 of its own
    mask = at::ones({T, first + T}, normed.options().dtype(at::kBool)).tril(first);
  }
  const int64_t repeat = heads_ / kv_heads_;
  const Tensor out =
      at::scaled_dot_product_attention(q, repeat_heads(k, repeat), repeat_heads(v, repeat), mask,
                                       /*dropout_p=*/0.0, /*is_causal=*/first == 0 && T > 1);
  return out.transpose(1, 2).reshape({B, T, heads_ * head_size_});
}

}  // namespace slice
