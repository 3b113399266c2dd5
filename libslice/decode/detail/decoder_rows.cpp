// Rows of libslice's own modules: any device and element type.

#include <ATen/ATen.h>

#include <algorithm>

#include "libslice/decode/detail/decode_graph.h"
#include "libslice/decode/detail/module_rows.h"
#include "libslice/model/decoder.h"
#include "libslice/model/kv_cache.h"

namespace slice::detail {

using at::Tensor;

namespace {

class DecoderRows final : public ModuleRows {
 public:
  DecoderRows(const DecoderImpl& decoder, KvCache& cache) : decoder_(decoder), cache_(cache) {}

  int64_t positions() const override { return decoder_.positions(); }

 private:
  class CachedTokens final : public Tokens {
   public:
    CachedTokens(const DecoderImpl& decoder, KvCache row)
        : decoder_(decoder), cache_(std::move(row)) {}

    int64_t length() const override { return cache_.length(); }
    void set_length(int64_t length) override {
      cache_.truncate(0);
      cache_.advance(length);
    }
    Tensor run(std::span<const int64_t> tokens, const SeeLogits& see) override {
      const Tensor ids =
          at::tensor(at::IntArrayRef(tokens.data(), tokens.size()), at::kLong);  // (T)
      const Tensor stream = decoder_.stream(ids.unsqueeze(0), &cache_);          // (1, T, k)
      if (see) see_logits(decoder_, stream[0], see);
      return decoder_.logits(stream.select(1, -1))[0];
    }

   private:
    const DecoderImpl& decoder_;
    KvCache cache_;  // the row as a cache of its own
  };

  std::unique_ptr<Tokens> start(int64_t row, const std::vector<int64_t>& prompt) override {
    decoder_.check_tokens(at::tensor(prompt, at::kLong).unsqueeze(0), /*first=*/0);
    return std::make_unique<CachedTokens>(decoder_, cache_.row(row));
  }

  const DecoderImpl& decoder_;
  KvCache& cache_;
};

}  // namespace

void see_logits(const DecoderImpl& decoder, const Tensor& stream, const SeeLogits& see) {
  for (int64_t t = 0; t < stream.size(0); t += kSeenTokens)
    see(decoder.logits(stream.slice(0, t, std::min(t + kSeenTokens, stream.size(0)))));
}

std::unique_ptr<RowDecoding> make_row_decoding(const DecoderImpl& decoder, KvCache& cache) {
  if (auto graph = make_row_graph(decoder, cache)) return graph;
  return std::make_unique<DecoderRows>(decoder, cache);
}

}  // namespace slice::detail
