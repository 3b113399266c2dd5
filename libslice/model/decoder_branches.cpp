// The branches of a decoder's layers: attention, a feed-forward network, a mixture of experts.

#include "libslice/base/detail/formatted.h"
#include "libslice/model/decoder.h"
#include "libslice/model/experts.h"
#include "libslice/model/families/family.h"

namespace slice {

using at::Tensor;

/// Attention of a layer, between the norm at `site` and the addition before the next one.
Branch DecoderImpl::add_attention(int64_t layer, int64_t site) {
  const ModelConfig& c = config_;
  const models::Names& names = models::family(c.family).names;
  const std::string root = detail::formatted("{}.{}.", names.layers, layer);
  const int64_t in = c.stream_size(site), out = c.stream_size(site + 1);
  const int64_t q_width = c.heads * c.head_size, kv_width = c.kv_heads * c.head_size;
  Linear q = add_linear(root + names.q, in, q_width, c.qkv_bias);
  Linear k = add_linear(root + names.k, in, kv_width, c.qkv_bias);
  Linear v = add_linear(root + names.v, in, kv_width, c.qkv_bias);
  Linear o = add_linear(root + names.o, q_width, out, c.output_bias);
  head_norms_.emplace_back(add_head_norm(root + names.q_norm, q_width),
                           add_head_norm(root + names.k_norm, kv_width));
  const auto& [q_norm, k_norm] = head_norms_.back();
  const Attention attention(c, layer, {.q = q, .k = k, .v = v, .q_norm = q_norm, .k_norm = k_norm});
  return {
      .readers = {view(root + names.q, q), view(root + names.k, k), view(root + names.v, v)},
      .hidden = [attention](const Tensor& n, KvCache* cache) { return attention.hidden(n, cache); },
      .writer = view(root + names.o, o)};
}

/// Feed-forward network of a layer, between the norm at `site` and the addition.
Branch DecoderImpl::add_mlp(int64_t layer, int64_t site) {
  const ModelConfig& c = config_;
  const models::Names& names = models::family(c.family).names;
  const std::string root = detail::formatted("{}.{}.", names.layers, layer);
  const int64_t in = c.stream_size(site), out = c.stream_size(site + 1);
  const int64_t width = c.ffn_width(layer);
  Linear gate{nullptr};
  std::vector<LinearRef> readers;
  if (c.gated_mlp) {
    gate = add_linear(root + names.gate, in, width, c.mlp_bias);
    readers.push_back(view(root + names.gate, gate));
  }
  Linear up = add_linear(root + names.up, in, width, c.mlp_bias);
  readers.push_back(view(root + names.up, up));
  Linear down = add_linear(root + names.down, width, out, c.mlp_bias);
  const Mlp mlp = c.activation == Activation::kXielu ? Mlp(add_xielu(root + names.xielu), up)
                                                     : Mlp(c.activation, gate, up);
  return {.readers = std::move(readers),
          .hidden = [mlp](const Tensor& n, KvCache*) { return mlp.hidden(n); },
          .writer = view(root + names.down, down),
          .channels = true};
}

/// Router and experts of a layer, between the norm at `site` and the addition.
Branch DecoderImpl::add_experts(int64_t layer, int64_t site) {
  const ModelConfig& c = config_;
  const models::Names& names = models::family(c.family).names;
  const std::string root = detail::formatted("{}.{}.", names.layers, layer);
  const int64_t in = c.stream_size(site), out = c.stream_size(site + 1);
  const int64_t width = c.ffn_width(layer);
  Branch branch;
  const auto reader = [&](const std::string& path, int64_t rows) {
    Linear linear = add_linear(path, in, rows, /*bias=*/false);
    branch.readers.push_back(view(path, linear));
    return linear;
  };
  const Linear router = reader(root + names.router, c.experts.count);
  std::vector<Expert> experts;
  for (int64_t e = 0; e < c.experts.count; ++e) {
    const std::string own = detail::formatted("{}{}.{}.", root, names.experts, e);
    const Linear gate = reader(own + names.gate, width), up = reader(own + names.up, width);
    const Linear down = add_linear(own + names.down, width, out, /*bias=*/false);
    branch.experts.push_back({.readers = {view(own + names.gate, gate), view(own + names.up, up)},
                              .writer = view(own + names.down, down)});
    experts.push_back({Mlp(c.activation, gate, up), down});
  }
  const Experts mixture(c.experts, router, std::move(experts));
  branch.mixture = [mixture](const Tensor& n) { return mixture.forward(n); };
  branch.expert_hidden = [mixture](const Tensor& n, int64_t first, int64_t last,
                                   const SeeExpert& see) { mixture.show(n, first, last, see); };
  branch.channels = true;
  return branch;
}

}  // namespace slice
