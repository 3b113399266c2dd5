#pragma once

#include <vector>

#include "libslice/decode/detail/decode_weights.h"
#include "libslice/decode/detail/rotary_tables.h"
#include "libslice/model/attention.h"
#include "libslice/model/config.h"

namespace slice {
class DecoderImpl;
}

namespace slice::detail {

class RankLink;

/// A decoder laid out for decoding (decode_weights.h), which must outlive this, and the tables that
/// its heads turn by.
struct DecodeModel {
  /// @param positions  rows of the tables, on the decoder's device
  /// @param ranks      of which the decoder is one's share of the layers, with embedding and head
  ///                   whole; nullptr: it is the whole model
  DecodeModel(const DecoderImpl& laid_out, int64_t positions, const RankLink* ranks = nullptr);

  /// Token embeddings at the stream's scale: ids, any shape, on the decoder's device → (…, k_0), new
  /// memory
  at::Tensor words(const at::Tensor& ids) const;
  /// What scores of a layer are made of, and what a query sees.
  AttentionScores scores(int64_t layer) const;
  /// What readers of the feed-forward network gave, (n, rows) → what its writer reads, (n, F).
  at::Tensor activated(const at::Tensor& read, bool gated) const;

  const DecoderImpl& decoder;
  const ModelConfig& config;
  at::Tensor embedding;  ///< (V, k_0)
  std::vector<DecodeSublayer> sublayers;
  Norm final_norm{nullptr};
  LinearRef head_map;    ///< where a sliced model kept its tie
  LinearRef head;        ///< of a rank, its own words
  int64_t vocabulary;    ///< words of all ranks
  const RankLink* link;  ///< nullptr: alone
  LogitForm logit_form;
  RotaryTables rotary;
};

}  // namespace slice::detail
