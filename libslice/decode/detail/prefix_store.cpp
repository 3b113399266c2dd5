#include "libslice/decode/detail/prefix_store.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "libslice/model/kv_cache.h"

namespace slice::detail {

using at::Tensor;

int64_t common_length(std::span<const int64_t> a, std::span<const int64_t> b) {
  const auto end = std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first;
  return end - a.begin();
}

namespace {

/// A sequence's first positions of a layer, (kv_heads, length, d).
Tensor positions(const Tensor& memory, int64_t sequence, int64_t length) {
  return memory[sequence].narrow(1, 0, length);
}

}  // namespace

void copy_positions(KvCache& cache, int64_t layers, int64_t from, int64_t to, int64_t length) {
  for (int64_t layer = 0; layer < layers; ++layer)
    for (const Tensor& memory : {cache.keys(layer), cache.values(layer)})
      positions(memory, to, length).copy_(positions(memory, from, length));
}

std::list<PrefixStore::Entry>::const_iterator PrefixStore::longest(std::span<const int64_t> ids,
                                                                   int64_t& length) const {
  auto best = entries_.end();
  length = 0;
  for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) {
    const int64_t common = common_length(entry->ids, ids);
    if (common <= length) continue;
    length = common;
    best = entry;
  }
  return best;
}

int64_t PrefixStore::find(std::span<const int64_t> ids) const {
  int64_t length;
  longest(ids, length);
  return length;
}

void PrefixStore::restore(std::span<const int64_t> ids, int64_t length, KvCache& cache,
                          int64_t sequence) {
  int64_t found;
  const auto entry = longest(ids, found);
  for (int64_t layer = 0; layer < layers_; ++layer) {
    positions(cache.keys(layer), sequence, length)
        .copy_(entry->memory[0][layer].narrow(1, 0, length));
    positions(cache.values(layer), sequence, length)
        .copy_(entry->memory[1][layer].narrow(1, 0, length));
  }
  entries_.splice(entries_.begin(), entries_, entry);
}

void PrefixStore::keep(std::span<const int64_t> ids, const KvCache& cache, int64_t sequence) {
  const auto length = static_cast<int64_t>(ids.size());
  const Tensor& keys = cache.keys(0);  // (B, kv_heads, capacity, d)
  const int64_t bytes = 2 * layers_ * keys.size(1) * length * keys.size(3) * keys.element_size();
  if (bytes > most_) return;
  for (auto entry = entries_.begin(); entry != entries_.end();) {
    const int64_t common = common_length(entry->ids, ids);
    if (common == length) {  // there already
      entries_.splice(entries_.begin(), entries_, entry);
      return;
    }
    const auto next = std::next(entry);
    if (common == std::ssize(entry->ids)) drop(entry);
    entry = next;
  }
  while (bytes_ + bytes > most_) drop(std::prev(entries_.end()));
  try {
    const Tensor memory =
        at::empty({2, layers_, keys.size(1), length, keys.size(3)}, keys.options());
    for (int64_t layer = 0; layer < layers_; ++layer) {
      memory[0][layer].copy_(positions(cache.keys(layer), sequence, length));
      memory[1][layer].copy_(positions(cache.values(layer), sequence, length));
    }
    entries_.push_front({{ids.begin(), ids.end()}, memory});
  } catch (const c10::OutOfMemoryError&) {
    return;
  }
  bytes_ += bytes;
}

void PrefixStore::drop(std::list<Entry>::iterator entry) {
  bytes_ -= static_cast<int64_t>(entry->memory.nbytes());
  entries_.erase(entry);
}

}  // namespace slice::detail
