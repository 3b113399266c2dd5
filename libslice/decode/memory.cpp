#include "libslice/decode/memory.h"

#include <algorithm>

#include "libslice/decode/detail/prefill.h"
#include "libslice/decode/generator.h"
#include "libslice/method/plan.h"
#include "libslice/model/config.h"

namespace slice {

namespace {

/// Elements of activations that a prompt needs at most, FFN and attention together: LibTorch's
/// cache keeps the blocks of both, since neither's fit the other's sizes.
int64_t prefill_elements(const ModelConfig& c, int64_t weight_bytes, int64_t context,
                         int64_t batch) {
  const int64_t tokens = context * batch;
  int64_t width = 0;
  for (int64_t layer = 0; layer < c.layers; ++layer) width = std::max(width, c.ffn_width(layer));
  const int64_t hidden = (c.gated_mlp ? 3 : 2) * width;
  // Without flash attention keys and values of grouped heads are repeated.
  const int64_t repeated = c.kv_heads < c.heads ? 2 * c.heads * c.head_size : 0;
  // The modules run a prompt all at once, and turn its queries in float32.
  if (!decodes_captured(c)) return tokens * (hidden + 13 * c.hidden_size + repeated);
  const int64_t at_once = std::min(tokens, detail::kPrefillTokens);
  const int64_t chunk = at_once * (hidden + 7 * c.hidden_size);
  if (weight_bytes == 2 && c.head_size % detail::kFlashAlignment == 0) return chunk;
  // A chunk after the first has a mask (prefill_cuda.cpp).
  const int64_t mask = context > detail::kPrefillTokens ? 2 * at_once * context : 0;
  return chunk + tokens * repeated + mask;
}

}  // namespace

int64_t cache_bytes(const ModelConfig& c, int64_t element_bytes, int64_t context, int64_t batch) {
  return 2 * c.layers * c.kv_heads * c.head_size * context * batch * element_bytes;
}

int64_t piece_bytes(const ModelConfig& c, int64_t weight_bytes, int64_t tokens, int64_t context) {
  const int64_t whole = prefill_elements(c, weight_bytes, tokens, /*batch=*/1);
  const int64_t repeated = c.kv_heads < c.heads ? 2 * c.heads * c.head_size : 0;
  // Of the positions before it: their keys and values repeated, and a mask.
  return weight_bytes * (whole + (context - tokens) * repeated + 2 * tokens * context);
}

int64_t inference_bytes(const ModelConfig& c, int64_t weight_bytes, int64_t context,
                        int64_t batch) {
  constexpr int64_t kFloat = 4;
  const int64_t logits = batch * c.vocabulary_size;
  return weight_bytes *
             (count_parameters(c).total + prefill_elements(c, weight_bytes, context, batch)) +
         cache_bytes(c, weight_bytes, context, batch) + kFloat * logits + kCudaContextBytes;
}

}  // namespace slice
