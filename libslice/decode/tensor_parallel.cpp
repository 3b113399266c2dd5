#include "libslice/decode/tensor_parallel.h"

#include <ATen/ATen.h>

#include <string>

#include "libslice/base/detail/check.h"
#include "libslice/checkpoint/checkpoint.h"
#include "libslice/decode/detail/rank_share.h"
#include "libslice/model/decoder.h"
#include "libslice/model/kv_cache.h"

namespace slice {

using at::Tensor;

namespace {

using detail::Range;

/// Part `i` of `parts` of [0, n); parts differ by one at most.
Range part_of(int64_t n, int64_t parts, int64_t i) { return {n * i / parts, n * (i + 1) / parts}; }

int64_t count(const Range& range) { return range.second - range.first; }

}  // namespace

HeadShare split_heads(const ModelConfig& config, int64_t ranks, int64_t rank) {
  const int64_t h = config.heads, kv = config.kv_heads, queries = h / kv;  // of a key/value head
  SLICE_ARGUMENT_CHECK(ranks >= 1 && ranks <= h && rank >= 0 && rank < ranks,
                       "tensor parallel: want a rank of 1 … {} for {} query heads, got {} of {}", h,
                       h, rank, ranks);
  if (ranks <= kv) {
    const Range own = part_of(kv, ranks, rank);
    return {.heads = {own.first * queries, own.second * queries}, .kv_heads = own};
  }
  int64_t head = 0;  // that this rank shares
  while (part_of(ranks, kv, head).second <= rank) ++head;
  const Range among = part_of(ranks, kv, head);
  const Range own = part_of(queries, count(among), rank - among.first);
  return {.heads = {head * queries + own.first, head * queries + own.second},
          .kv_heads = {head, head + 1}};
}

TensorParallel::TensorParallel(const Checkpoint& checkpoint, const ProcessGroup& group,
                               const GroupDecoderOptions& options)
    : GroupDecoder(checkpoint, group, options) {
  SLICE_ARGUMENT_CHECK(config().vocabulary_size >= group.size(),
                       "tensor parallel: a vocabulary of {} is too small for {} ranks",
                       config().vocabulary_size, group.size());
  const detail::RankShare share(*whole_, group.size(), group.rank(), /*divides_vocabulary=*/true);
  take(checkpoint, share.config(), options,
       [&](const std::string& name) { return share.of(name, read(checkpoint, name)); });
}

/// tokens (B, T) → (B, T, k_0): every rank looks up the words of which it has the rows.
Tensor TensorParallel::embed(const Tensor& tokens, const KvCache* cache) const {
  const auto [first, last] = group_.share(config().vocabulary_size);
  const Tensor own = tokens.ge(first).logical_and(tokens.lt(last));  // (B, T)
  Tensor words =
      at::embedding(parts_.embeddings[0].weight, (tokens - first).masked_fill(own.logical_not(), 0))
          .masked_fill(own.logical_not().unsqueeze(-1), 0);  // (B, T, k_0)
  group_.sum_inplace(words);
  return stream_of(words, cache);
}

/// x (B, T, k_a) → (B, T, k_b), the same on every rank.
Tensor TensorParallel::run(const Sublayer& sublayer, const Tensor& x, KvCache* cache) const {
  Tensor z = sublayer.output(x, cache);  // (B, T, k_b), this rank's part of it
  const Tensor& S = sublayer.shortcut->weight;
  const bool divided = S.defined() && S.dim() == 2;  // (k_b, this rank's share of k_a)
  if (divided) {
    const auto [first, last] = detail::aligned_part(x.size(-1), group_.size(), group_.rank());
    z = sublayer.shortcut->forward(x.slice(-1, first, last), z);
  }
  group_.sum_inplace(z);
  return divided ? z : sublayer.shortcut->forward(x, sublayer.addend(z));
}

Tensor TensorParallel::stream(const Tensor& tokens, KvCache* cache) const {
  Tensor x = embed(tokens, cache);  // (B, T, k)
  for (const Sublayer& sublayer : parts_.sublayers) x = run(sublayer, x, cache);
  return x;
}

Tensor TensorParallel::head(const Tensor& stream) const {
  const Tensor own = decoder_->logits(stream);                                // (n, own words)
  Tensor all = at::empty({config().vocabulary_size, stream.size(0)}, held_);  // (V, n)
  const auto [first, last] = group_.share(config().vocabulary_size);
  all.slice(0, first, last).copy_(own.t());
  group_.gather_rows_inplace(all);
  return all.t().contiguous();  // (n, V)
}

}  // namespace slice
