#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "libslice/decode/detail/row_decoding.h"

namespace slice {
class KvCache;
}

namespace slice::detail {

struct DecodeModel;

/// Pieces of prompts of several rows of a cache in one pass over the weights, on a CUDA device, as
/// prefill() runs one: products and norms over all tokens, attention piece by piece in one kernel.
/// Writes the cache's memory. Of a model whose rotary angles do not depend on the text's length.
///
/// @param pieces  at least one, each of a row of its own and with a token; checked by the caller
/// @return        logits (pieces, V) of the tokens that follow them
/// Cost: a pass costs the host as many launches as a prompt alone, some 12 a layer.
at::Tensor prefill_rows(const DecodeModel& model, const KvCache& cache,
                        const std::vector<PromptPiece>& pieces);

}  // namespace slice::detail
