#include "libslice/decode/packed_model.h"

#include <algorithm>
#include <numeric>

#include "libslice/base/detail/check.h"
#include "libslice/decode/detail/decode_model.h"

namespace slice {

void PackedTexts::begin(std::span<const int64_t> ids) {
  begun_ = tokens();
  beginning_ = 0;
  if (ids.empty()) return;
  add_piece(ids, 0);
  beginning_ = static_cast<int64_t>(ids.size());
}

int64_t PackedTexts::add(std::span<const int64_t> ids) {
  SLICE_ARGUMENT_CHECK(!ids.empty(), "packed texts: want at least one token after a beginning");
  const int64_t place = tokens();
  add_piece(ids, beginning_);
  return place;
}

void PackedTexts::add_piece(std::span<const int64_t> ids, int64_t first) {
  const auto count = static_cast<int64_t>(ids.size());
  const auto grow = [](std::vector<int64_t>& list, int64_t by, int64_t from) {
    list.resize(list.size() + static_cast<size_t>(by));
    std::iota(list.end() - by, list.end(), from);
  };
  grow(seen_, first, begun_);
  grow(seen_, count, tokens());
  grow(positions_, count, first);
  ids_.insert(ids_.end(), ids.begin(), ids.end());
  query_starts_.push_back(static_cast<int32_t>(ids_.size()));
  key_starts_.push_back(static_cast<int32_t>(seen_.size()));
}

PackedModel::~PackedModel() = default;
PackedModel::PackedModel(PackedModel&&) noexcept = default;

int64_t PackedModel::working_bytes(const PackedTexts& texts) const {
  const ModelConfig& c = model_->config;
  const int64_t widest = std::ranges::max(c.ffn_widths()), kv_width = c.kv_heads * c.head_size;
  // Stream, norm and sum; gate, up and their product; q, k, v, what is read of them, the output.
  const int64_t own = 4 * c.hidden_size + 3 * widest + 3 * c.heads * c.head_size + 4 * kv_width;
  // In float32 LibTorch wants as many heads of keys and values as of queries.
  const bool repeats = model_->embedding.scalar_type() == at::kFloat && c.kv_heads < c.heads;
  const int64_t seen = 2 * (kv_width + (repeats ? c.heads * c.head_size : 0));
  return (texts.tokens() * own + texts.seen() * seen) *
         static_cast<int64_t>(model_->embedding.element_size());
}

}  // namespace slice
