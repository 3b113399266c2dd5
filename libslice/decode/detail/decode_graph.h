#pragma once

#include <memory>

#include "libslice/decode/detail/decoding.h"
#include "libslice/decode/detail/row_decoding.h"
#include "libslice/model/config.h"

namespace slice::detail {

class RankLink;

/// The largest head of the attention kernel of cuda/decode_attention.h.
inline constexpr int64_t kLargestDecodeHead = 256;

/// Decoding whose single tokens are a captured graph: nothing is allocated and the host does not
/// wait between two tokens. Lays the weights out anew (decode_weights.h).
/// @param link  of a rank whose share of the layers the decoder is; must outlive the graph
/// @return      nullptr where decodes_captured says no, on the CPU and in float64
std::unique_ptr<Decoding> make_decode_graph(const DecoderImpl& decoder, KvCache& cache,
                                            const RankLink* link = nullptr);
/// The same for rows that are texts of their own.
std::unique_ptr<RowDecoding> make_row_graph(const DecoderImpl& decoder, KvCache& cache,
                                            const RankLink* link = nullptr);

}  // namespace slice::detail
