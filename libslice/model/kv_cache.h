#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "libslice/model/config.h"

namespace slice {

/// Keys and values of every layer for a batch that is being decoded. Allocated once:
/// 2 · L · B · kv_heads · capacity · d elements.
class KvCache {
 public:
  /// @param capacity  positions it can hold
  /// @throws ArgumentError  batch or capacity < 1
  KvCache(const ModelConfig& config, int64_t batch, int64_t capacity, at::TensorOptions options);

  /// The rows of sequence b in this memory, as an empty cache of one sequence.
  /// @throws ArgumentError  there is no sequence b
  KvCache row(int64_t b) const;
  /// What is counted of these sequences, each as often as it is named, in new memory.
  /// @param sequences  (n) int64, CPU    @param capacity  of the new cache, ≥ length()
  /// @throws ArgumentError  there is no such sequence, or a capacity that is too small
  KvCache gathered(const at::Tensor& sequences, int64_t capacity) const;

  /// Appends T positions to one layer.
  /// @param k, v  (B, kv_heads, T, d)
  /// @return      all keys and values of the layer, views (B, kv_heads, length + T, d)
  /// @throws ArgumentError  there is no such layer
  /// @throws ShapeError     the shapes do not fit, or so many positions are not free
  std::pair<at::Tensor, at::Tensor> append(int64_t layer, const at::Tensor& k, const at::Tensor& v);
  /// Counts T appended positions, once every layer has them.
  void advance(int64_t T) { length_ += T; }
  /// Forgets all positions after the first `length`.
  /// @throws ArgumentError  it has fewer
  void truncate(int64_t length);

  /// The memory of a layer, (B, kv_heads, capacity, d); undefined from position `length` on.
  const at::Tensor& keys(int64_t layer) const { return keys_.at(layer); }
  const at::Tensor& values(int64_t layer) const { return values_.at(layer); }

  int64_t length() const { return length_; }
  int64_t capacity() const { return capacity_; }
  int64_t batch() const { return batch_; }

 private:
  KvCache(int64_t batch, int64_t capacity) : batch_(batch), capacity_(capacity) {}

  int64_t batch_, capacity_, length_ = 0;
  std::vector<at::Tensor> keys_, values_;  // of each layer (B, kv_heads, capacity, d)
};

}  // namespace slice
