#pragma once

#include <vector>

#include "libslice/decode/detail/decode_weights.h"
#include "libslice/model/config.h"

namespace slice {
class DecoderImpl;
}

namespace slice::detail {

/// A decoder laid out for decoding (decode_weights.h), which must outlive this, and the tables that
/// its heads turn by.
struct DecodeModel {
  /// @param positions  rows of the tables, on the decoder's device
  DecodeModel(const DecoderImpl& laid_out, int64_t positions);

  /// What readers of the feed-forward network gave, (n, rows) → what its writer reads, (n, F).
  at::Tensor activated(const at::Tensor& read, bool gated) const;

  const DecoderImpl& decoder;
  const ModelConfig& config;
  at::Tensor embedding;  ///< (V, k_0)
  std::vector<DecodeSublayer> sublayers;
  Norm final_norm{nullptr};
  LinearRef head;
  int64_t rotary_size = 0;  ///< r, leading coordinates of a head that turn
  at::Tensor cosine, sine;  ///< (positions, r/2) float32; undefined where nothing turns
};

}  // namespace slice::detail
