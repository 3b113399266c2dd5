#include "libslice/decode/detail/decode_model.h"

#include <ATen/ATen.h>

#include "libslice/model/decoder.h"
#include "libslice/model/mlp.h"
#include "libslice/model/rotary.h"

namespace slice::detail {

using at::Tensor;

DecodeModel::DecodeModel(const DecoderImpl& laid_out, int64_t positions)
    : decoder(laid_out), config(laid_out.config()) {
  const ModelAdapter adapter = decoder.adapter();
  sublayers = lay_out_for_decoding(adapter);
  final_norm = adapter.final_norm;
  head = adapter.head;
  embedding = adapter.embeddings[0].weight;
  if (config.learned_positions > 0) return;
  rotary_size = config.rotary_size.value_or(config.head_size);
  const Rotary rotary(rotary_size, config.rope_theta, config.rope_scaling);
  const Tensor angles =
      at::outer(at::arange(positions, embedding.options().dtype(at::kDouble)),
                at::tensor(rotary.frequencies(), at::kDouble).to(embedding.device()));
  cosine = angles.cos().to(at::kFloat);  // (positions, r/2)
  sine = angles.sin().to(at::kFloat);
}

Tensor DecodeModel::activated(const Tensor& read, bool gated) const {
  if (!gated) return activate(config.activation, read);
  const Tensor pairs = read.view({read.size(0), -1, 2});  // (n, F, 2)
  return activate(config.activation, pairs.select(2, 0)) * pairs.select(2, 1);
}

}  // namespace slice::detail
