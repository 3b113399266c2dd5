// Decoding by LibTorch's modules: any device and element type; rows one after the other.

#include <ATen/ATen.h>

#include <algorithm>
#include <map>

#include "libslice/base/detail/finite.h"
#include "libslice/base/error.h"
#include "libslice/decode/detail/decode_graph.h"
#include "libslice/decode/detail/decoding.h"
#include "libslice/decode/detail/stop_token.h"
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

  void enter(int64_t row, const GenerateOptions& options) override {
    texts_.insert_or_assign(row, Text{options, cache_.row(row), /*logits=*/{}});
  }

  void feed_row(int64_t row, int64_t position, std::span<const int64_t> tokens,
                const SeeLogits& see) override {
    Text& text = texts_.at(row);
    set_length(text, position);
    run_row(text, tokens, see);
  }

  void take_prompt(int64_t row, int64_t length, const Tensor& logits) override {
    Text& text = texts_.at(row);
    set_length(text, length);
    text.logits = logits.clone();
  }

  Tensor logits(int64_t row) override { return texts_.at(row).logits; }

  std::vector<std::vector<int64_t>> continue_rows(const std::vector<DecodingRow>& rows,
                                                  const std::vector<DecodingRow>& /*waiting*/,
                                                  int64_t n) override {
    std::vector<std::vector<int64_t>> ids(rows.size());
    for (size_t i = 0; i < rows.size(); ++i) {
      try {
        ids[i] = continue_row(rows[i], n);
      } catch (...) {
        if (i == 0) throw;
        break;
      }
    }
    return ids;
  }

 private:
  struct Text {
    GenerateOptions options;
    KvCache cache;  // the row as a cache of its own
    Tensor logits;  // (V) of the next token
  };

  static void set_length(Text& text, int64_t length) {
    text.cache.truncate(0);
    text.cache.advance(length);
  }

  /// tokens (B, T) after what the cache has → logits (B, V) of the tokens that follow
  Tensor run(const Tensor& tokens, KvCache& cache) const {
    const at::NoGradGuard no_grad;
    const Tensor stream = decoder_.stream(tokens, &cache);  // (B, T, k)
    return decoder_.logits(stream.select(1, -1));
  }

  void run_row(Text& text, std::span<const int64_t> tokens, const SeeLogits& see = {}) const {
    const at::NoGradGuard no_grad;
    const Tensor ids = at::tensor(at::IntArrayRef(tokens.data(), tokens.size()), at::kLong);  // (T)
    const Tensor stream = decoder_.stream(ids.unsqueeze(0), &text.cache);  // (1, T, k)
    text.logits = decoder_.logits(stream.select(1, -1))[0];
    if (see) see_logits(decoder_, stream[0], see);
  }

  /// At least one id. The last one of a text is not fed, nor is one after which an error came.
  std::vector<int64_t> continue_row(const DecodingRow& row, int64_t n) {
    Text& text = texts_.at(row.row);
    std::vector<int64_t> ids;
    while (static_cast<int64_t>(ids.size()) < n) {
      try {
        ids.push_back(sample_token(
            text.logits, text.options.sampling,
            {text.options.seed, text.options.sequence, /*position=*/text.cache.length()}));
      } catch (const NumericError&) {
        ids.push_back(-1);
      }
      const bool is_last = static_cast<int64_t>(ids.size()) == row.room;
      if (is_last || ids.back() < 0 || is_stop(ids.back(), text.options)) break;
      try {
        run_row(text, {&ids.back(), 1});
      } catch (...) {
        ids.pop_back();
        if (ids.empty()) throw;
        break;
      }
    }
    return ids;
  }

  const DecoderImpl& decoder_;
  KvCache& cache_;
  std::map<int64_t, Text> texts_;  // by row; one that ended stays until its row is entered again
};

}  // namespace

void see_logits(const DecoderImpl& decoder, const Tensor& stream, const SeeLogits& see) {
  for (int64_t t = 0; t < stream.size(0); t += kSeenTokens)
    see(decoder.logits(stream.slice(0, t, std::min(t + kSeenTokens, stream.size(0)))));
}

std::unique_ptr<Decoding> make_decoding(const DecoderImpl& decoder, KvCache& cache) {
  if (auto graph = make_decode_graph(decoder, cache)) return graph;
  return std::make_unique<DecodeModules>(decoder, cache);
}

}  // namespace slice::detail
