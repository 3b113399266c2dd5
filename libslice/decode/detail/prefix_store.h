#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <list>
#include <span>
#include <vector>

namespace slice {
class KvCache;
}

namespace slice::detail {

/// How many ids two texts have alike at their beginnings.
int64_t common_length(std::span<const int64_t> a, std::span<const int64_t> b);

/// Copies the first `length` positions of a sequence to another of the same cache.
void copy_positions(KvCache& cache, int64_t layers, int64_t from, int64_t to, int64_t length);

/// Keys and values of texts that have ended, for prompts that begin as they do. Within its bytes:
/// the least recently used goes, and a text that another one begins with.
class PrefixStore {
 public:
  /// @param bytes  at most; 0: it keeps nothing
  PrefixStore(int64_t layers, int64_t bytes) : layers_(layers), most_(bytes) {}

  bool keeps() const { return most_ > 0; }
  int64_t layers() const { return layers_; }
  /// The most ids that a text here begins with as this one does, and 0 where none does.
  int64_t find(std::span<const int64_t> ids) const;
  /// Copies the first `length` positions, of what find() found for the same ids, into a sequence.
  void restore(std::span<const int64_t> ids, int64_t length, KvCache& cache, int64_t sequence);
  /// Keeps those of a sequence that has these ids. Where memory is short nothing is kept.
  void keep(std::span<const int64_t> ids, const KvCache& cache, int64_t sequence);

  int64_t bytes() const { return bytes_; }

 private:
  struct Entry {
    std::vector<int64_t> ids;
    at::Tensor memory;  // (2, L, kv_heads, T, d): keys, values
  };
  std::list<Entry>::const_iterator longest(std::span<const int64_t> ids, int64_t& length) const;
  void drop(std::list<Entry>::iterator entry);

  int64_t layers_, most_, bytes_ = 0;
  std::list<Entry> entries_;  // the most recently used first
};

}  // namespace slice::detail
