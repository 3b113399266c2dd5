#pragma once

#include <memory>

#include "libslice/decode/detail/decoding.h"
#include "libslice/decode/detail/kernel_network.h"
#include "libslice/model/config.h"

namespace slice::detail {

/// The largest head of the attention kernel of cuda/decode_attention.h.
inline constexpr int64_t kLargestDecodeHead = 256;

/// Whether a GPU decodes a model of this configuration by a graph (in all types but float64).
inline bool decodes_by_graph(const ModelConfig& config) {
  return runs_on_kernels(config) && config.head_size <= kLargestDecodeHead && !config.maps_head();
}

/// Decoding whose single tokens are a captured graph: nothing is allocated and the host does not
/// wait between two tokens. Lays the weights out anew (decode_weights.h).
/// @return  nullptr where decodes_by_graph says no, on the CPU and in float64
std::unique_ptr<Decoding> make_decode_graph(const DecoderImpl& decoder, KvCache& cache);

}  // namespace slice::detail
