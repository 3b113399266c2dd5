#include <ATen/ATen.h>
#include <torch/nn/module.h>

#include <algorithm>
#include <set>

#include "libslice/decode/detail/divided_devices.h"
#include "libslice/decode/detail/row_decoding.h"
#include "libslice/decode/divided_model.h"
#include "libslice/decode/engine.h"
#include "libslice/decode/memory.h"
#include "libslice/decode/user_decoder.h"
#include "libslice/model/decoder.h"

namespace slice {

namespace {

/// What a model's Batch works in. @param decoder  the model's, or the first GPU's part of it
int64_t work_bytes(const EngineModel& m, const DecoderImpl& decoder, int64_t prompt_chunk) {
  const ModelConfig& c = decoder.config();
  const int64_t element = at::elementSize(decoder.dtype()), V = c.vocabulary_size;
  const int64_t logits = 2 * m.slots * V * element;  // and the copy that errors go back to
  const int64_t seen = 3 * detail::kSeenTokens * V * int64_t{sizeof(float)};  // log-probabilities
  const int64_t history = m.slots * m.capacity * int64_t{sizeof(int64_t)};
  return piece_bytes(c, element, std::min(prompt_chunk, m.capacity), m.capacity) + logits + seen +
         history;
}

/// What an adapter names.
std::vector<LinearRef> linears(const ModelAdapter& adapter) {
  std::vector<LinearRef> all = adapter.embeddings;
  for (const Sublayer& sublayer : adapter.sublayers) {
    for (const Branch& branch : sublayer.branches) {
      const auto writers = branch.writers();
      all.insert(all.end(), branch.readers.begin(), branch.readers.end());
      all.insert(all.end(), writers.begin(), writers.end());
    }
  }
  all.push_back(adapter.head);
  all.push_back(adapter.head_map);
  return all;
}

}  // namespace

EngineBytes engine_bytes(const EngineOptions& options) {
  EngineBytes bytes;
  std::set<const void*> counted;  // storages
  bool on_gpu = false;
  const auto count = [&](const at::Tensor& weight) {
    if (weight.defined() && counted.insert(weight.storage().unsafeGetStorageImpl()).second)
      bytes.weights += static_cast<int64_t>(weight.storage().nbytes());
    on_gpu = on_gpu || (weight.defined() && weight.is_cuda());
  };
  for (const EngineModel& m : options.models) {
    if (m.decoder) {
      for (const LinearRef& linear : linears(m.decoder->adapter)) {
        count(linear.weight);
        count(linear.bias);
      }
      bytes.work += m.slots * m.decoder->vocabulary_size() *
                    static_cast<int64_t>(m.decoder->adapter.head.weight.element_size());
      continue;
    }
    const DecoderImpl& decoder = m.divided ? m.divided->parts()->decoder(0) : m.model->decoder();
    for (const at::Tensor& weight : decoder.parameters()) count(weight);
    bytes.cache +=
        cache_bytes(decoder.config(), at::elementSize(decoder.dtype()), m.capacity, m.slots);
    bytes.prefixes += m.divided ? 0 : options.prefix_bytes;
    bytes.work += work_bytes(m, decoder, options.prompt_chunk);
  }
  if (on_gpu) bytes.work += kCudaContextBytes;
  return bytes;
}

}  // namespace slice
