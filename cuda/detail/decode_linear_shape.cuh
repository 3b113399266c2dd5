#pragma once

#include <cuda.h>

#include "cuda/detail/warp.cuh"

// decode_linear by warpgroups: how much of the matrices a block has at a time, and how they are
// divided among blocks.

namespace slice::kernels::detail {

constexpr int kSwizzleColumns = 64;  // 128 bytes, as wide as a swizzle

/// kGroups × 64 rows of W a cluster, up to kSignals rows of X; kStages chunks of 64 columns.
template <int kGroups_, int kSignals_, int kStages_>
struct WarpgroupShape {
  static constexpr int kGroups = kGroups_;
  static constexpr int kSignals = kSignals_;
  static constexpr int kStages = kStages_;
  static constexpr int kRows = 64 * kGroups;
  static constexpr int kChunk = kSwizzleColumns;
  static constexpr int kMultipliers = 128 * kGroups;
  static constexpr int kThreads = kMultipliers + kWarp;  // the last warp copies
  static constexpr int kWeightBytes = kRows * 128;
  static constexpr int kStageBytes = kWeightBytes + kSignals * 128;
  static constexpr int kAlignment = 1024;  // of a swizzle
  /// 16-byte pieces of X in a chunk that a thread looks at for the norm.
  static constexpr int kPieces = (8 * kSignals + kMultipliers - 1) / kMultipliers;
  static constexpr int kPartialRow = kRows + 4;  // spreads the rows over the banks
  static constexpr int kSharedBytes = kAlignment + kStages * (kStageBytes + 128);
  static_assert(kSignals * (kPartialRow + 1) * 4 <= kStages * kStageBytes);
  static_assert(kPartialRow % 4 == 0);
};

/// The matrices as copies see them: boxes of 64 columns, kRows or kSignals rows.
struct DecodeLinearMaps {
  CUtensorMap W, X, V, Z;  // V and Z where K2 > 0
};

/// Clusters of `cluster` blocks, one for `rows` rows of W each, `chunks` chunks of columns in all.
struct WarpgroupGrid {
  int rows, cluster, chunks, blocks;
};

}  // namespace slice::kernels::detail
