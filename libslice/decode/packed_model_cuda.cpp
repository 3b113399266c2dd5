// The device side of packed_model.h.

#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>

#include <algorithm>

#include "cuda/rotary_append.h"
#include "libslice/base/detail/check.h"
#include "libslice/checkpoint/model.h"
#include "libslice/decode/detail/decode_model.h"
#include "libslice/decode/detail/kernel_network.h"
#include "libslice/decode/detail/many_rows_layer.h"
#include "libslice/decode/detail/prefill.h"
#include "libslice/decode/detail/turn_heads.h"
#include "libslice/decode/packed_model.h"
#include "libslice/model/attention.h"
#include "libslice/model/decoder.h"

namespace slice {

using at::Tensor;

namespace {

/// The longest of the pieces that begin at these places, the last of which is their end.
int64_t longest(const std::vector<int32_t>& starts) {
  int32_t most = 0;
  for (size_t i = 1; i < starts.size(); ++i) most = std::max(most, starts[i] - starts[i - 1]);
  return most;
}

/// The attention of one pass. Pieces are what begin() and add() added: queries of tokens that
/// follow one another, which see `seen`, their own tokens last.
class PackedAttention {
 public:
  PackedAttention(const detail::DecodeModel& model, const Tensor& positions, const Tensor& seen,
                  const std::vector<int32_t>& query_starts, const std::vector<int32_t>& key_starts)
      : model_(model),
        seen_(seen),
        query_starts_(query_starts),
        key_starts_(key_starts),
        queries_(at::tensor(query_starts, at::kInt).to(seen.device())),
        keys_(at::tensor(key_starts, at::kInt).to(seen.device())),
        longest_queries_(longest(query_starts)),
        longest_keys_(longest(key_starts)) {
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
    return attended(q, k, v, model_.scores(layer)).reshape({N, c.heads * c.head_size});
  }

 private:
  /// q (N, h, d), k and v (M, kv, d) → (N, h, d)
  Tensor attended(const Tensor& q, const Tensor& k, const Tensor& v,
                  const AttentionScores& scores) const {
    constexpr int64_t kLargestFlashHead = 256, kEfficientAlignment = 4;
    const int64_t d = q.size(2);
    const bool single = q.scalar_type() == at::kFloat, capped = scores.softcap > 0;
    if (single && !capped && d % kEfficientAlignment == 0) return efficient(q, k, v, scores);
    if (single || capped || d % detail::kFlashAlignment != 0 || d > kLargestFlashHead)
      return piece_by_piece(q, k, v, scores);
    return std::get<0>(at::_flash_attention_forward(
        q, k, v, queries_, keys_, longest_queries_, longest_keys_, /*dropout_p=*/0.0,
        /*is_causal=*/true, /*return_debug_mask=*/false, scores.scale,
        scores.window > 0 ? std::optional<int64_t>(scores.window - 1) : std::nullopt));
  }

  Tensor efficient(const Tensor& q, const Tensor& k, const Tensor& v,
                   const AttentionScores& scores) const {
    constexpr int64_t kCausalFromTheLast = 2;
    const int64_t repeat = q.size(1) / k.size(1);
    const auto heads = [&](const Tensor& x) {
      return x.repeat_interleave(repeat, 1).unsqueeze(0);  // (1, M, h, d)
    };
    return std::get<0>(
               at::_efficient_attention_forward(
                   q.unsqueeze(0), heads(k), heads(v), /*bias=*/{}, queries_, keys_,
                   longest_queries_, longest_keys_, /*dropout_p=*/0.0, kCausalFromTheLast,
                   /*compute_log_sumexp=*/false, scores.scale, /*seqlen_k=*/{},
                   scores.window > 0 ? std::optional<int64_t>(scores.window) : std::nullopt))
        .squeeze(0);
  }

  /// For heads that the fused kernels do not take.
  Tensor piece_by_piece(const Tensor& q, const Tensor& k, const Tensor& v,
                        const AttentionScores& scores) const {
    std::vector<Tensor> pieces;
    for (size_t i = 1; i < query_starts_.size(); ++i) {
      const auto piece = [&](const Tensor& x, const std::vector<int32_t>& starts) {
        return x.slice(0, starts[i - 1], starts[i]).transpose(0, 1).unsqueeze(0);  // (1, h, T, d)
      };
      const Tensor queries = piece(q, query_starts_), keys = piece(k, key_starts_);
      pieces.push_back(
          attend(queries, keys, piece(v, key_starts_), keys.size(2) - queries.size(2), scores)
              .squeeze(0)
              .transpose(0, 1));
    }
    return at::cat(pieces);
  }

  const detail::DecodeModel& model_;
  const Tensor seen_;
  const std::vector<int32_t>&query_starts_, &key_starts_;
  const Tensor queries_, keys_;  // the same on the device
  const int64_t longest_queries_, longest_keys_;
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
