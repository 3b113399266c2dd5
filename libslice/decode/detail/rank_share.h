#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "libslice/model/config.h"

namespace slice {
class DecoderImpl;
}

namespace slice::detail {

using Range = std::pair<int64_t, int64_t>;  // [first, last)

/// Part `rank` of `ranks` of [0, n). Parts begin at multiples of 64 or 8 where n is one and there
/// are enough, as vector accesses want; they differ by one of these at most.
Range aligned_part(int64_t n, int64_t ranks, int64_t rank);

/// What one rank holds of a model whose layers are divided: query heads with the key/value heads
/// that they read (split_heads), feed-forward channels, columns of dense shortcuts. Biases that are
/// added to the stream are the first rank's. All else is on every rank.
class RankShare {
 public:
  /// @param whole              the model, which needs no memory
  /// @param divides_vocabulary whether rows of embedding and head are divided, too
  /// @throws ArgumentError  fewer query heads or feed-forward channels than ranks, a mixture of
  ///                        experts, a norm over the queries of all heads
  RankShare(const DecoderImpl& whole, int64_t ranks, int64_t rank, bool divides_vocabulary);

  /// The share as a model of its own; what dense shortcuts read is not in it.
  const ModelConfig& config() const { return config_; }
  /// The rank's part of a parameter, in memory of its own where it is one.
  at::Tensor of(const std::string& name, const at::Tensor& whole) const;
  /// Its shape, from that of the whole.
  std::vector<int64_t> shape(const std::string& name, std::vector<int64_t> whole) const;

 private:
  /// Which rows (dimension 0) or columns (1) of a parameter a rank holds.
  struct Cut {
    int64_t dimension;
    Range range;
  };

  void cut_sublayers(const DecoderImpl& whole);
  bool is_added_elsewhere(const std::string& name) const;

  int64_t ranks_, rank_;
  ModelConfig config_;
  std::map<std::string, Cut> cuts_;  // by name; every rank has all of any other parameter
};

}  // namespace slice::detail
