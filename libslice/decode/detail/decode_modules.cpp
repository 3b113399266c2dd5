// Decoding by LibTorch's modules: any device and element type; a batch in step.

#include <ATen/ATen.h>

#include "libslice/base/detail/finite.h"
#include "libslice/decode/detail/decode_graph.h"
#include "libslice/decode/detail/decoding.h"
#include "libslice/decode/sampling.h"
#include "libslice/model/decoder.h"
#include "libslice/model/kv_cache.h"

namespace slice::detail {

using at::Tensor;

namespace {

class DecodeModules final : public Decoding {
 public:
  DecodeModules(const DecoderImpl& decoder, KvCache& cache) : decoder_(decoder), cache_(cache) {}

  bool is_captured() const override { return false; }

  Tensor feed(const Tensor& tokens) override { return run(tokens, cache_); }

  Tensor continue_inplace(Tensor& logits, int64_t n, const SamplingOptions& sampling, uint64_t seed,
                          uint64_t sequence) override {
    std::vector<Tensor> ids = {at::empty({cache_.batch(), 0}, logits.options().dtype(at::kLong))};
    for (int64_t i = 0; i < n; ++i) {
      check_finite(logits, "logits");
      Tensor next = logits.argmax(1, /*keepdim=*/true);  // (B, 1)
      for (int64_t b = 0; sampling.temperature > 0 && b < next.size(0); ++b) {
        next[b].fill_(sample_token(logits[b], sampling,
                                   {.seed = seed,
                                    .sequence = sequence + static_cast<uint64_t>(b),
                                    .position = cache_.length()}));
      }
      ids.push_back(next);
      logits = feed(next);
    }
    return at::cat(ids, 1);  // (B, n)
  }

 private:
  /// tokens (B, T) after what the cache has → logits (B, V) of the tokens that follow
  Tensor run(const Tensor& tokens, KvCache& cache) const {
    const at::NoGradGuard no_grad;
    const Tensor stream = decoder_.stream(tokens, &cache);  // (B, T, k)
    return decoder_.logits(stream.select(1, -1));
  }

  const DecoderImpl& decoder_;
  KvCache& cache_;
};

}  // namespace

std::unique_ptr<Decoding> make_decoding(const DecoderImpl& decoder, KvCache& cache) {
  if (auto graph = make_decode_graph(decoder, cache)) return graph;
  return std::make_unique<DecodeModules>(decoder, cache);
}

}  // namespace slice::detail
