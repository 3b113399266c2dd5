#pragma once

#include <cstdint>
#include <vector>

#include "libslice/config.h"

namespace slice {

/// What becomes of the head's site.
enum class HeadMode {
  kKeep,   ///< the last site keeps all D coordinates: the head is not sliced (the paper's tables)
  kSlice,  ///< sliced like every other site
};

inline constexpr int64_t kHostChunkTokens = 4096;

/// What to remove, and in what pieces to work.
struct SliceOptions {
  double slice = 0.25;  ///< s, fraction of the hidden size to delete, [0, 1)
  int64_t round = 8;    ///< kept sizes are rounded down to a multiple of it
  HeadMode head = HeadMode::kKeep;
  /// Calibration tokens that pass a sublayer together: memory, not results. 0: kHostChunkTokens on
  /// the CPU, on a GPU what its free memory has room for. Halved whenever a device runs out.
  int64_t chunk_tokens = 0;
};

/// Kept size of a site:  k = ⌊(1 − s)·D⌋ rounded down to a multiple of `round`; D for s = 0.
/// (SliceGPT §3.4, reference)
/// @throws ShapeError  s outside [0, 1), round < 1, or nothing left (k < 1).
int64_t kept_size(int64_t D, double slice, int64_t round);

/// Kept sizes of all sites of a model of hidden size D: one in front of every sublayer and one in
/// front of the head.
std::vector<int64_t> plan_stream_sizes(int64_t D, int64_t sites, const SliceOptions& options);

struct ParameterCount {
  int64_t total =
      0;  ///< all parameters as stored: a tied matrix once; norms, biases and shortcuts count
  int64_t blocks = 0;  ///< weight matrices of the blocks, shortcuts included; no biases, no norms
  int64_t shortcuts = 0;  ///< of those, the rotated shortcuts
};

/// Counts the parameters of a model from its sizes alone, dense or sliced (config.stream_sizes).
/// (mathematics §6)
ParameterCount count_parameters(const ModelConfig& config);

struct ExpectedCost {
  int64_t host_bytes =
      0;  ///< peak: weights in float32 with the head untied, the stream, a chunk, the libraries
  int64_t disk_bytes = 0;  ///< of the sliced model
  double flop = 0;         ///< forward pass, covariances, eigensolves (float64 ones counted twice)
};

/// What slicing on the CPU takes, from sizes alone. @param stored_bytes  bytes of a stored weight
ExpectedCost expected_cost(const ModelConfig& dense, const std::vector<int64_t>& stream_sizes,
                           int64_t tokens, int64_t chunk_tokens, int64_t stored_bytes);

}  // namespace slice
