#include "libslice/decode/detail/rank_share.h"

#include <ATen/ATen.h>

#include "libslice/base/detail/check.h"
#include "libslice/decode/tensor_parallel.h"
#include "libslice/model/decoder.h"
#include "libslice/model/families/family.h"

namespace slice::detail {

using at::Tensor;

namespace {

int64_t count(const Range& range) { return range.second - range.first; }

Range part_of(int64_t n, int64_t parts, int64_t i) { return {n * i / parts, n * (i + 1) / parts}; }

}  // namespace

Range aligned_part(int64_t n, int64_t ranks, int64_t rank) {
  for (const int64_t unit : {64, 8}) {
    if (n % unit != 0 || n / unit < ranks) continue;
    const Range part = part_of(n / unit, ranks, rank);
    return {part.first * unit, part.second * unit};
  }
  return part_of(n, ranks, rank);
}

RankShare::RankShare(const DecoderImpl& whole, int64_t ranks, int64_t rank, bool divides_vocabulary)
    : ranks_(ranks), rank_(rank), config_(whole.config()) {
  const ModelConfig& c = whole.config();
  SLICE_ARGUMENT_CHECK(c.head_norm != HeadNorm::kAll,
                       "tensor parallel: a norm over the queries of all heads is not supported: "
                       "their heads are on several ranks");
  SLICE_ARGUMENT_CHECK(!c.routed(),
                       "tensor parallel: mixtures of experts are not supported; a pipeline runs "
                       "them");
  const HeadShare share = split_heads(c, ranks, rank);
  config_.heads = count(share.heads);
  config_.kv_heads = count(share.kv_heads);
  config_.ffn_sizes.clear();
  for (int64_t layer = 0; layer < c.layers; ++layer) {
    const int64_t width = c.ffn_width(layer);
    SLICE_ARGUMENT_CHECK(
        width >= ranks,
        "tensor parallel: layer {} has {} feed-forward channels, too few for {} ranks", layer,
        width, ranks);
    config_.ffn_sizes.push_back(count(aligned_part(width, ranks, rank)));
  }
  cut_sublayers(whole);
  if (!divides_vocabulary) return;
  const Range words = part_of(c.vocabulary_size, ranks, rank);
  config_.vocabulary_size = count(words);
  const ModelAdapter parts = whole.adapter();
  for (const LinearRef& linear : {parts.embeddings[0], parts.head})
    cuts_[linear.name + ".weight"] = cuts_[linear.name + ".bias"] = {0, words};
}

void RankShare::cut_sublayers(const DecoderImpl& whole) {
  const HeadShare share = split_heads(whole.config(), ranks_, rank_);
  const auto rows = [&](const LinearRef& linear, const Range& range) {
    cuts_[linear.name + ".weight"] = cuts_[linear.name + ".bias"] = {0, range};
  };
  const auto columns = [&](const std::string& module, const Range& range) {
    cuts_[module + ".weight"] = {1, range};
  };
  const auto numbers = [&](const Range& heads) {  // of these heads
    return Range(heads.first * config_.head_size, heads.second * config_.head_size);
  };
  for (const Sublayer& s : whole.adapter().sublayers) {
    if (const Tensor& S = s.shortcut->weight; S.defined() && S.dim() == 2)
      columns(s.name + "_shortcut", aligned_part(S.size(1), ranks_, rank_));
    for (const Branch& part : s.branches) {
      const Range hidden = part.channels ? aligned_part(part.writer.weight.size(1), ranks_, rank_)
                                         : numbers(share.heads);
      for (const LinearRef& reader : part.readers) rows(reader, hidden);
      columns(part.writer.name, hidden);
      if (part.channels) continue;
      for (const size_t i : {1, 2}) rows(part.readers[i], numbers(share.kv_heads));  // k and v
    }
  }
}

bool RankShare::is_added_elsewhere(const std::string& name) const {
  const models::Names& names = models::family(config_.family).names;
  return rank_ > 0 && (name.ends_with(names.o + ".bias") || name.ends_with(names.down + ".bias"));
}

Tensor RankShare::of(const std::string& name, const Tensor& whole) const {
  if (is_added_elsewhere(name)) return at::zeros_like(whole);
  const auto cut = cuts_.find(name);
  if (cut == cuts_.end()) return whole;
  const auto& [dimension, range] = cut->second;
  return whole.slice(dimension, range.first, range.second).clone(at::MemoryFormat::Contiguous);
}

std::vector<int64_t> RankShare::shape(const std::string& name, std::vector<int64_t> whole) const {
  if (const auto cut = cuts_.find(name); cut != cuts_.end())
    whole.at(static_cast<size_t>(cut->second.dimension)) = count(cut->second.range);
  return whole;
}

}  // namespace slice::detail
