#include "libslice/decode/tensor_parallel.h"

#include <ATen/ATen.h>

#include <map>
#include <string>
#include <vector>

#include "libslice/base/detail/check.h"
#include "libslice/checkpoint/checkpoint.h"
#include "libslice/model/decoder.h"
#include "libslice/model/families/family.h"
#include "libslice/model/kv_cache.h"

namespace slice {

using at::Tensor;

namespace {

using Range = std::pair<int64_t, int64_t>;  // [first, last)

/// Part `i` of `parts` of [0, n); parts differ by one at most.
Range part_of(int64_t n, int64_t parts, int64_t i) { return {n * i / parts, n * (i + 1) / parts}; }

int64_t count(const Range& range) { return range.second - range.first; }

/// Which rows (dimension 0) or columns (1) of a parameter a rank holds.
struct Cut {
  int64_t dimension;
  Range range;
};

/// The divided parameters of a model, by name; every rank has all of any other one.
std::map<std::string, Cut> cuts_of(const DecoderImpl& whole, const ProcessGroup& group) {
  const ModelConfig& c = whole.config();
  const ModelAdapter parts = whole.adapter();
  std::map<std::string, Cut> cuts;
  const auto rows = [&](const LinearRef& linear, const Range& range) {
    cuts[linear.name + ".weight"] = cuts[linear.name + ".bias"] = {0, range};
  };
  const auto columns = [&](const std::string& module, const Range& range) {
    cuts[module + ".weight"] = {1, range};
  };
  const HeadShare share = split_heads(c, group.size(), group.rank());
  const auto numbers = [&](const Range& heads) {  // of these heads
    return Range(heads.first * c.head_size, heads.second * c.head_size);
  };
  rows(parts.embeddings[0], group.share(c.vocabulary_size));
  rows(parts.head, group.share(c.vocabulary_size));
  for (const Sublayer& s : parts.sublayers) {
    if (const Tensor& S = s.shortcut->weight; S.defined() && S.dim() == 2)
      columns(s.name + "_shortcut", group.share(S.size(1)));
    for (const Branch& part : s.branches) {
      const Range hidden =
          part.channels ? group.share(part.writer.weight.size(1)) : numbers(share.heads);
      for (const LinearRef& reader : part.readers) rows(reader, hidden);
      columns(part.writer.name, hidden);
      if (part.channels) continue;
      for (const size_t i : {1, 2}) rows(part.readers[i], numbers(share.kv_heads));  // k and v
    }
  }
  return cuts;
}

/// A rank's share as a model of its own; what the shortcuts read is not in it.
ModelConfig share_config(const ModelConfig& config, const ProcessGroup& group) {
  const HeadShare share = split_heads(config, group.size(), group.rank());
  ModelConfig own = config;
  own.heads = count(share.heads);
  own.kv_heads = count(share.kv_heads);
  own.vocabulary_size = count(group.share(config.vocabulary_size));
  own.ffn_sizes.clear();
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    const int64_t width = config.ffn_width(layer);
    SLICE_ARGUMENT_CHECK(
        width >= group.size(),
        "tensor parallel: layer {} has {} feed-forward channels, too few for {} ranks", layer,
        width, group.size());
    own.ffn_sizes.push_back(count(group.share(width)));
  }
  return own;
}

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
  SLICE_ARGUMENT_CHECK(config().head_norm != HeadNorm::kAll,
                       "tensor parallel: a norm over the queries of all heads is not supported: "
                       "their heads are on several ranks");
  SLICE_ARGUMENT_CHECK(!config().routed(),
                       "tensor parallel: mixtures of experts are not supported; a pipeline runs "
                       "them");
  const models::Names& names = models::family(config().family).names;
  const std::map<std::string, Cut> cuts = cuts_of(*whole_, group);
  const ModelConfig own = share_config(config(), group);
  take(checkpoint, own, options, [&](const std::string& name) {
    const Tensor whole = read(checkpoint, name);
    const bool added = name.ends_with(names.o + ".bias") || name.ends_with(names.down + ".bias");
    if (added && group.rank() > 0) return at::zeros_like(whole);
    const auto cut = cuts.find(name);
    if (cut == cuts.end()) return whole;
    const auto& [dimension, range] = cut->second;
    return whole.slice(dimension, range.first, range.second).clone(at::MemoryFormat::Contiguous);
  });
}

/// tokens (B, T) → (B, T, k_0): every rank looks up the words of which it has the rows.
Tensor TensorParallel::embed(const Tensor& tokens) const {
  const auto [first, last] = group_.share(config().vocabulary_size);
  const Tensor own = tokens.ge(first).logical_and(tokens.lt(last));  // (B, T)
  Tensor words =
      at::embedding(parts_.embeddings[0].weight, (tokens - first).masked_fill(own.logical_not(), 0))
          .masked_fill(own.logical_not().unsqueeze(-1), 0);  // (B, T, k_0)
  group_.sum_inplace(words);
  return stream_of(words);
}

/// x (B, T, k_a) → (B, T, k_b), the same on every rank.
Tensor TensorParallel::run(const Sublayer& sublayer, const Tensor& x) const {
  Tensor z = sublayer.output(x, cache_.get());  // (B, T, k_b), this rank's part of it
  const Tensor& S = sublayer.shortcut->weight;
  const bool divided = S.defined() && S.dim() == 2;  // (k_b, this rank's share of k_a)
  if (divided) {
    const auto [first, last] = group_.share(x.size(-1));
    z = sublayer.shortcut->forward(x.slice(-1, first, last), z);
  }
  group_.sum_inplace(z);
  return divided ? z : sublayer.shortcut->forward(x, sublayer.addend(z));
}

Tensor TensorParallel::next_logits(const Tensor& tokens) {
  Tensor x = embed(tokens);  // (B, T, k)
  for (const Sublayer& sublayer : parts_.sublayers) x = run(sublayer, x);
  const Tensor own = decoder_->logits(x.select(1, -1));                       // (B, own words)
  Tensor all = at::empty({config().vocabulary_size, tokens.size(0)}, held_);  // (V, B)
  const auto [first, last] = group_.share(config().vocabulary_size);
  all.slice(0, first, last).copy_(own.t());
  group_.gather_rows_inplace(all);
  return all.t().contiguous();  // (B, V)
}

}  // namespace slice
