#include "libslice/model/kv_cache.h"

#include <ATen/ATen.h>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/tensor_text.h"

namespace slice {

KvCache::KvCache(const ModelConfig& config, int64_t batch, int64_t capacity,
                 at::TensorOptions options)
    : batch_(batch), capacity_(capacity) {
  SLICE_ARGUMENT_CHECK(batch > 0 && capacity > 0,
                       "KV cache: want batch and capacity > 0, got {} and {}", batch, capacity);
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    keys_.push_back(at::empty({batch, config.kv_heads, capacity, config.head_size}, options));
    values_.push_back(at::empty_like(keys_.back()));
  }
}

KvCache KvCache::row(int64_t b) const {
  SLICE_ARGUMENT_CHECK(b >= 0 && b < batch_, "KV cache: no sequence {} of {}", b, batch_);
  KvCache row(1, capacity_);
  for (const at::Tensor& keys : keys_) row.keys_.push_back(keys.narrow(0, b, 1));
  for (const at::Tensor& values : values_) row.values_.push_back(values.narrow(0, b, 1));
  return row;
}

KvCache KvCache::gathered(const at::Tensor& sequences, int64_t capacity) const {
  const int64_t n = sequences.numel();
  SLICE_ARGUMENT_CHECK(n > 0 && capacity >= length_,
                       "KV cache: cannot hold {} positions of {} sequences in a capacity of {}",
                       length_, n, capacity);
  SLICE_ARGUMENT_CHECK(
      sequences.min().item<int64_t>() >= 0 && sequences.max().item<int64_t>() < batch_,
      "KV cache: sequences outside 0 … {}", batch_ - 1);
  KvCache all(n, capacity);
  all.length_ = length_;
  const at::Tensor chosen = sequences.to(keys_[0].device());  // once: the host waits for it
  const auto gather = [&](const at::Tensor& memory) {
    at::Tensor rows = at::empty({n, memory.size(1), capacity, memory.size(3)}, memory.options());
    rows.narrow(2, 0, length_).copy_(memory.narrow(2, 0, length_).index_select(0, chosen));
    return rows;
  };
  for (const at::Tensor& keys : keys_) all.keys_.push_back(gather(keys));
  for (const at::Tensor& values : values_) all.values_.push_back(gather(values));
  return all;
}

std::pair<at::Tensor, at::Tensor> KvCache::append(int64_t layer, const at::Tensor& k,
                                                  const at::Tensor& v) {
  SLICE_ARGUMENT_CHECK(layer >= 0 && layer < static_cast<int64_t>(keys_.size()),
                       "KV cache: no layer {}", layer);
  at::Tensor &keys = keys_[layer], &values = values_[layer];
  SLICE_CHECK(k.dim() == 4 && k.sizes() == v.sizes() && k.size(0) == batch_ &&
                  k.size(1) == keys.size(1) && k.size(3) == keys.size(3),
              "KV cache: want ({}, {}, T, {}), got k {}, v {}", batch_, keys.size(1), keys.size(3),
              detail::describe(k), detail::describe(v));
  const int64_t end = length_ + k.size(2);
  SLICE_CHECK(end <= capacity_, "KV cache: {} positions do not fit into a capacity of {}", end,
              capacity_);
  keys.slice(2, length_, end).copy_(k);
  values.slice(2, length_, end).copy_(v);
  return {keys.slice(2, 0, end), values.slice(2, 0, end)};
}

void KvCache::truncate(int64_t length) {
  SLICE_ARGUMENT_CHECK(length >= 0 && length <= length_,
                       "KV cache: cannot truncate {} positions to {}", length_, length);
  length_ = length;
}

}  // namespace slice
