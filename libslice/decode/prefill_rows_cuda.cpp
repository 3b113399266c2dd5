// The device side of detail/prefill_rows.h.

#include <ATen/ATen.h>
#include <ATen/TensorIndexing.h>
#include <c10/cuda/CUDAGuard.h>

#include <algorithm>

#include "cuda/rotary_append.h"
#include "libslice/decode/detail/decode_model.h"
#include "libslice/decode/detail/many_rows_layer.h"
#include "libslice/decode/detail/piece_attention.h"
#include "libslice/decode/detail/prefill_rows.h"
#include "libslice/decode/detail/turn_heads.h"
#include "libslice/model/decoder.h"
#include "libslice/model/kv_cache.h"

namespace slice::detail {

using at::Tensor;

namespace {

/// Tokens of the pieces, N in all, and the M keys that they see, in the order of the pieces.
struct Places {
  std::vector<int64_t> ids, positions, last;     // (N), (N), (pieces): each piece's last token
  std::vector<kernels::TokenPlace> tokens;       // (N)
  std::vector<int64_t> key_rows, key_positions;  // (M)
  std::vector<int32_t> query_starts = {0}, key_starts = {0};  // (pieces + 1)
  bool begin = true;  // whether all pieces are beginnings, so that the keys are the tokens' own
};

Places places_of(const std::vector<PromptPiece>& pieces) {
  Places p;
  for (const PromptPiece& piece : pieces) {
    const int64_t end = piece.position + std::ssize(piece.tokens);
    p.begin = p.begin && piece.position == 0;
    p.ids.insert(p.ids.end(), piece.tokens.begin(), piece.tokens.end());
    for (int64_t at = 0; at < end; ++at) {
      p.key_rows.push_back(piece.row);
      p.key_positions.push_back(at);
      if (at < piece.position) continue;
      p.positions.push_back(at);
      p.tokens.push_back({static_cast<int32_t>(piece.row), static_cast<int32_t>(at)});
    }
    p.last.push_back(std::ssize(p.ids) - 1);
    p.query_starts.push_back(static_cast<int32_t>(p.ids.size()));
    p.key_starts.push_back(static_cast<int32_t>(p.key_rows.size()));
  }
  return p;
}

class RowsAttention {
 public:
  RowsAttention(const DecodeModel& model, const KvCache& cache, const Places& places)
      : model_(model),
        cache_(cache),
        attended_(places.query_starts, places.key_starts, model.embedding.device()) {
    const at::Device device = model.embedding.device();
    const int64_t N = std::ssize(places.tokens);
    const auto* numbers = reinterpret_cast<const int32_t*>(places.tokens.data());
    tokens_ = at::tensor(at::ArrayRef<int32_t>(numbers, static_cast<size_t>(2 * N)), at::kInt)
                  .to(device)
                  .view({N, 2});
    if (places.begin) return;
    key_rows_ = at::tensor(places.key_rows, at::kLong).to(device);
    key_positions_ = at::tensor(places.key_positions, at::kLong).to(device);
  }

  /// qkv (N, (h + 2·kv)·d), whose queries and keys are turned in place → (N, h·d)
  Tensor operator()(const Tensor& qkv, int64_t layer) const {
    const ModelConfig& c = model_.config;
    const int64_t N = qkv.size(0);
    const Tensor &keys = cache_.keys(layer), &values = cache_.values(layer);  // (B, kv, …, d)
    turn_heads(model_, layer, model_.rotary.layer(layer), qkv,
               {.keys = keys,
                .values = values,
                .tokens = N,
                .capacity = cache_.capacity(),
                .places = tokens_});
    const Tensor heads = qkv.view({N, c.heads + 2 * c.kv_heads, c.head_size});
    const Tensor q = heads.narrow(1, 0, c.heads);  // (N, h, d)
    Tensor k, v;                                   // (M, kv, d)
    if (key_rows_.defined()) {
      k = seen(keys);
      v = seen(values);
    } else {
      k = heads.narrow(1, c.heads, c.kv_heads);
      v = heads.narrow(1, c.heads + c.kv_heads, c.kv_heads);
    }
    return attended_(q, k, v, model_.scores(layer)).reshape({N, c.heads * c.head_size});
  }

 private:
  /// (B, kv, capacity, d) → (M, kv, d)
  Tensor seen(const Tensor& rows) const {
    return rows.index({key_rows_, at::indexing::Slice(), key_positions_});
  }

  const DecodeModel& model_;
  const KvCache& cache_;
  const PieceAttention attended_;
  Tensor tokens_;                    // (N, 2) int32: kernels::TokenPlace
  Tensor key_rows_, key_positions_;  // (M) int64, undefined where the keys are the tokens' own
};

static_assert(sizeof(kernels::TokenPlace) == 2 * sizeof(int32_t));

}  // namespace

Tensor prefill_rows(const DecodeModel& model, const KvCache& cache,
                    const std::vector<PromptPiece>& pieces) {
  const at::Device device = model.embedding.device();
  const c10::cuda::CUDAGuard guard(device);
  const at::NoGradGuard no_grad;
  const Places places = places_of(pieces);
  const auto on_device = [&](const std::vector<int64_t>& list) {
    return at::tensor(list, at::kLong).to(device);
  };
  Tensor x = model.words(on_device(places.ids));  // (N, k_0)
  if (const Tensor rows = model.decoder.position_rows(); rows.defined())
    x.add_(rows.index_select(0, on_device(places.positions) + model.config.position_offset));
  const RowsAttention attention(model, cache, places);
  int64_t layer = 0;
  const auto attend = [&](const Tensor& qkv) { return attention(qkv, layer); };
  for (const DecodeSublayer& s : model.sublayers) {
    x = many_rows_sublayer(model, s, x, attend);  // (N, k)
    layer += s.branches[0].attention ? 1 : 0;
  }
  return model.decoder.logits(x.index_select(0, on_device(places.last)));  // (pieces, V)
}

}  // namespace slice::detail
