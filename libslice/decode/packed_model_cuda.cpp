// The device side of packed_model.h.

#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>

#include "cuda/rotary_append.h"
#include "libslice/base/detail/check.h"
#include "libslice/checkpoint/model.h"
#include "libslice/decode/detail/decode_model.h"
#include "libslice/decode/detail/kernel_network.h"
#include "libslice/decode/detail/many_rows_layer.h"
#include "libslice/decode/detail/piece_attention.h"
#include "libslice/decode/detail/turn_heads.h"
#include "libslice/decode/packed_model.h"
#include "libslice/model/attention.h"
#include "libslice/model/decoder.h"

namespace slice {

using at::Tensor;

namespace {

/// The attention of one pass. Pieces are what begin() and add() added: queries of tokens that
/// follow one another, which see `seen`, their own tokens last.
class PackedAttention {
 public:
  PackedAttention(const detail::DecodeModel& model, const Tensor& positions, const Tensor& seen,
                  const std::vector<int32_t>& query_starts, const std::vector<int32_t>& key_starts)
      : model_(model), seen_(seen), attended_(query_starts, key_starts, seen.device()) {
    const ModelConfig& c = model.config;
    k_ = at::empty({c.kv_heads, positions.size(0), c.head_size}, model.embedding.options());
    v_ = at::empty_like(k_);
    for (detail::RotaryTable table : model.rotary.tables()) {
      if (table.rotary_size > 0) {
        table.cosine = table.cosine.index_select(0, positions);  // (N, r/2)
        table.sine = table.sine.index_select(0, positions);
      }
      tables_.push_back(std::move(table));
    }
  }

  /// qkv (N, (h + 2·kv)·d), whose queries are turned in place → (N, h·d)
  Tensor operator()(const Tensor& qkv, int64_t layer) const {
    const ModelConfig& c = model_.config;
    const int64_t N = qkv.size(0);
    // A cache of one sequence, whose row of angles is each token's own.
    turn_heads(model_, layer, tables_[model_.rotary.number(layer)], qkv,
               {.keys = k_, .values = v_, .tokens = N, .capacity = N});
    const Tensor q =
        qkv.view({N, c.heads + 2 * c.kv_heads, c.head_size}).narrow(1, 0, c.heads);  // (N, h, d)
    const Tensor k = k_.index_select(1, seen_).transpose(0, 1),                      // (M, kv, d)
        v = v_.index_select(1, seen_).transpose(0, 1);
    return attended_(q, k, v, model_.scores(layer)).reshape({N, c.heads * c.head_size});
  }

 private:
  const detail::DecodeModel& model_;
  const Tensor seen_;
  const detail::PieceAttention attended_;
  Tensor k_, v_;                             // (kv, N, d), of one layer after the other
  std::vector<detail::RotaryTable> tables_;  // each token's own rows, of those of the model
};

}  // namespace

bool PackedModel::runs(const Model& model) {
  const DecoderImpl& decoder = model.decoder();
  return decoder.device().is_cuda() && decoder.dtype() != at::kDouble &&
         detail::runs_on_kernels(decoder.config()) &&
         !detail::RotaryTables::depend_on_length(decoder.config()) &&
         decoder.config().head_size <= kernels::kRotaryHeadSize;
}

PackedModel::PackedModel(const Model& model, int64_t positions) {
  SLICE_ARGUMENT_CHECK(runs(model),
                       "packed texts: want a model on a CUDA device, in float32 or a "
                       "16-bit type, with heads of at most {}, of parts that the kernels have, and "
                       "rotary positions that do not depend on the length of a text",
                       kernels::kRotaryHeadSize);
  model.decoder().check_positions(positions);
  const c10::cuda::CUDAGuard guard(model.decoder().device());
  const at::NoGradGuard no_grad;
  model_ = std::make_unique<detail::DecodeModel>(model.decoder(), positions);
}

Tensor PackedModel::stream(const PackedTexts& texts) const {
  const at::Device device = model_->embedding.device();
  const c10::cuda::CUDAGuard guard(device);
  const at::NoGradGuard no_grad;
  const auto on_device = [&](const std::vector<int64_t>& list) {
    return at::tensor(list, at::kLong).to(device);
  };
  const Tensor positions = on_device(texts.positions_);
  Tensor x = model_->words(on_device(texts.ids_));  // (N, k_0)
  if (const Tensor rows = model_->decoder.position_rows(); rows.defined())
    x.add_(rows.index_select(0, positions + model_->config.position_offset));
  const PackedAttention attention(*model_, positions, on_device(texts.seen_), texts.query_starts_,
                                  texts.key_starts_);
  int64_t layer = 0;
  const auto attend = [&](const Tensor& qkv) { return attention(qkv, layer); };
  for (const detail::DecodeSublayer& s : model_->sublayers) {
    x = detail::many_rows_sublayer(*model_, s, x, attend);
    layer += s.branches[0].attention ? 1 : 0;
  }
  return x;
}

}  // namespace slice
