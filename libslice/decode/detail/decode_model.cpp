#include "libslice/decode/detail/decode_model.h"

#include <ATen/ATen.h>

#include "libslice/decode/detail/rank_link.h"
#include "libslice/model/decoder.h"
#include "libslice/model/mlp.h"

namespace slice::detail {

using at::Tensor;

DecodeModel::DecodeModel(const DecoderImpl& laid_out, int64_t positions, const RankLink* ranks)
    : decoder(laid_out),
      config(laid_out.config()),
      link(ranks),
      rotary(laid_out.config(), positions, laid_out.device()) {
  const ModelAdapter adapter = decoder.adapter();
  sublayers = lay_out_for_decoding(adapter);
  final_norm = adapter.final_norm;
  head_map = adapter.head_map;
  head = adapter.head;
  embedding = adapter.embeddings[0].weight;
  logit_form = adapter.logit_form;
  vocabulary = head.weight.size(0);
  if (link == nullptr) return;
  const auto [first, last] = link->own_words(vocabulary);
  head.weight = head.weight.slice(0, first, last);
  if (head.bias.defined()) head.bias = head.bias.slice(0, first, last);
}

Tensor DecodeModel::words(const Tensor& ids) const {
  Tensor rows = at::embedding(embedding, ids);
  return config.embedding_scale == 1 ? rows : rows.mul_(config.embedding_scale);
}

AttentionScores DecodeModel::scores(int64_t layer) const {
  return {.window = config.window(layer),
          .scale = config.attention_scale,
          .softcap = config.attention_softcap};
}

Tensor DecodeModel::activated(const Tensor& read, bool gated) const {
  if (!gated) return activate(config.activation, read);
  const Tensor pairs = read.view({read.size(0), -1, 2});  // (n, F, 2)
  return activate(config.activation, pairs.select(2, 0)) * pairs.select(2, 1);
}

}  // namespace slice::detail
