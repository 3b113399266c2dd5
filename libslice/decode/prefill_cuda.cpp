// The device side of detail/prefill.h.

#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>

#include <algorithm>

#include "libslice/decode/detail/decode_model.h"
#include "libslice/decode/detail/many_rows_layer.h"
#include "libslice/decode/detail/prefill.h"
#include "libslice/decode/detail/turn_heads.h"
#include "libslice/model/attention.h"
#include "libslice/model/decoder.h"

namespace slice::detail {

using at::Tensor;

namespace {

/// Some tokens of some sequences on their way through all layers.
class PrefillChunk {
 public:
  /// @param rotary    of the text as a whole
  /// @param sequence  the first one's number in the cache    @param position  of the first token
  PrefillChunk(const DecodeModel& model, const RotaryTables& rotary, const KvCache& cache,
               int64_t sequence, int64_t position)
      : model_(model), rotary_(rotary), cache_(cache), sequence_(sequence), position_(position) {}

  /// tokens (n, T) → the stream after the last sublayer, (n, T, k_last)
  Tensor stream(const Tensor& tokens) {
    sequences_ = tokens.size(0);
    tokens_ = tokens.size(1);
    Tensor x = embedded(tokens).flatten(0, 1);  // (n·T, k_0)
    int64_t layer = 0;
    const auto attend = [&](const Tensor& qkv) { return attention(qkv, layer); };
    for (const DecodeSublayer& s : model_.sublayers) {
      x = many_rows_sublayer(model_, s, x, attend);  // (n·T, k)
      layer += s.branches[0].attention ? 1 : 0;
    }
    return x.reshape({sequences_, tokens_, x.size(1)});
  }

 private:
  /// tokens (n, T) → (n, T, k_0), new memory
  Tensor embedded(const Tensor& tokens) const {
    const Tensor words = model_.words(tokens.to(model_.embedding.device()));
    const Tensor positions = model_.decoder.position_rows();
    if (!positions.defined()) return words;
    const int64_t row = position_ + model_.config.position_offset;
    return words + positions.slice(0, row, row + tokens_);
  }

  /// qkv (n·T, (h + 2·kv)·d), whose queries are turned in place → (n·T, h·d)
  Tensor attention(const Tensor& qkv, int64_t layer) const {
    const ModelConfig& c = model_.config;
    const Tensor keys = cache_.keys(layer).narrow(0, sequence_, sequences_);      // (n, kv, …, d)
    const Tensor values = cache_.values(layer).narrow(0, sequence_, sequences_);  // the same
    turn_heads(model_, layer, rotary_.layer(layer), qkv,
               {.keys = keys,
                .values = values,
                .sequences = sequences_,
                .tokens = tokens_,
                .capacity = cache_.capacity(),
                .first = position_});
    const int64_t end = position_ + tokens_;
    const Tensor q = qkv.view({sequences_, tokens_, c.heads + 2 * c.kv_heads, c.head_size})
                         .narrow(2, 0, c.heads)
                         .transpose(1, 2);  // (n, h, T, d)
    const Tensor out = attended(q, keys.narrow(2, 0, end), values.narrow(2, 0, end),
                                model_.scores(layer));  // (n, h, T, d)
    return out.transpose(1, 2).reshape({qkv.size(0), c.heads * c.head_size});
  }

  /// q (n, h, T, d), k and v (n, kv, position + T, d) → (n, h, T, d)
  Tensor attended(const Tensor& q, const Tensor& k, const Tensor& v,
                  const AttentionScores& scores) const {
    const int64_t end = k.size(2);
    if (q.scalar_type() == at::kFloat || q.size(3) % kFlashAlignment != 0 || scores.softcap > 0)
      return attend(q, k, v, position_, scores);
    // LibTorch's public attention takes cuDNN's on Hopper, which prepares every new length for 67
    // ms (H100; it then saves 3 ms of a 7B prompt of 2048), and for fewer queries than keys it has
    // no causality but a mask, T by position + T. Flash attention has it, the last query at the
    // last key, and windows too.
    return std::get<0>(
               at::_flash_attention_forward(
                   q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), {}, {}, tokens_, end,
                   /*dropout_p=*/0.0, /*is_causal=*/true, /*return_debug_mask=*/false, scores.scale,
                   scores.window > 0 ? std::optional<int64_t>(scores.window - 1) : std::nullopt))
        .transpose(1, 2);
  }

  const DecodeModel& model_;
  const RotaryTables& rotary_;
  const KvCache& cache_;
  int64_t sequence_, position_;
  int64_t sequences_ = 0, tokens_ = 0;  // n, T
};

}  // namespace

Tensor prefill(const DecodeModel& model, const KvCache& cache, const Tensor& tokens,
               int64_t position, int64_t chunk_tokens,
               const std::function<void(const Tensor& stream)>& see) {
  const c10::cuda::CUDAGuard guard(model.embedding.device());
  const at::NoGradGuard no_grad;
  const int64_t B = tokens.size(0), T = tokens.size(1);
  // Chunks of equal size: a small last one would leave multiprocessors idle.
  const auto equal = [](int64_t all, int64_t most) {
    const int64_t chunks = (all + most - 1) / most;
    return (all + chunks - 1) / chunks;
  };
  const int64_t sequences = equal(B, std::max<int64_t>(1, chunk_tokens / T));
  const int64_t run = equal(T, chunk_tokens);
  const RotaryTables rotary = model.rotary.of_text(position + T);
  std::vector<Tensor> last;  // (n, k_last) each
  for (int64_t b = 0; b < B; b += sequences) {
    const Tensor rows = tokens.slice(0, b, b + sequences);  // (n, T)
    for (int64_t t = 0; t < T; t += run) {
      PrefillChunk chunk(model, rotary, cache, b, position + t);
      const Tensor x = chunk.stream(rows.slice(1, t, t + run));  // (n, T', k_last)
      if (see) see(x);
      if (t + run >= T) last.push_back(x.select(1, -1).clone());
    }
  }
  return model.decoder.logits(at::cat(last));  // (B, V)
}

}  // namespace slice::detail
