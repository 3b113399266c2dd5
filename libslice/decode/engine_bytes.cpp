#include <ATen/ATen.h>
#include <torch/nn/module.h>

#include <algorithm>
#include <set>

#include "libslice/decode/detail/decoding.h"
#include "libslice/decode/engine.h"
#include "libslice/decode/memory.h"
#include "libslice/model/decoder.h"

namespace slice {

namespace {

/// What a model's Batch works in.
int64_t work_bytes(const EngineModel& m, int64_t prompt_chunk) {
  const ModelConfig& c = m.model->config();
  const int64_t element = at::elementSize(m.model->decoder().dtype()), V = c.vocabulary_size;
  const int64_t logits = 2 * m.slots * V * element;  // and the copy that errors go back to
  const int64_t seen = 3 * detail::kSeenTokens * V * int64_t{sizeof(float)};  // log-probabilities
  const int64_t history = m.slots * m.capacity * int64_t{sizeof(int64_t)};
  return piece_bytes(c, element, std::min(prompt_chunk, m.capacity), m.capacity) + logits + seen +
         history;
}

}  // namespace

EngineBytes engine_bytes(const EngineOptions& options) {
  EngineBytes bytes;
  std::set<const void*> counted;  // storages
  bool on_gpu = false;
  for (const EngineModel& m : options.models) {
    const DecoderImpl& decoder = m.model->decoder();
    for (const at::Tensor& weight : decoder.parameters())
      if (counted.insert(weight.storage().unsafeGetStorageImpl()).second)
        bytes.weights += static_cast<int64_t>(weight.storage().nbytes());
    bytes.cache +=
        cache_bytes(m.model->config(), at::elementSize(decoder.dtype()), m.capacity, m.slots);
    bytes.prefixes += options.prefix_bytes;
    bytes.work += work_bytes(m, options.prompt_chunk);
    on_gpu = on_gpu || decoder.device().is_cuda();
  }
  if (on_gpu) bytes.work += kCudaContextBytes;
  return bytes;
}

}  // namespace slice
