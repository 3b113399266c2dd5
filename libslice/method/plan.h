#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "libslice/model/config.h"

namespace slice {

/// What becomes of the head's site.
enum class HeadMode {
  kKeep,   ///< the last site keeps all D coordinates: the head is not sliced (the paper's tables)
  kSlice,  ///< sliced like every other site
};

inline constexpr int64_t kHostChunkTokens = 4096;

/// How to slice.
enum class Method {
  kSliceGpt,  ///< the paper's: principal directions, dense shortcuts (mathematics §4)
  kRefit,     ///< output-aware directions, writers fitted to the dense model (mathematics §5b)
};

/// Where the signal of all calibration tokens lives between passes.
enum class SignalPlace {
  kDevice,  ///< that computes; the memory, where that is the CPU
  kHost,    ///< page-locked memory of the host
  kDisk,    ///< a file without a name
};

/// What to remove, and in what pieces to work.
struct SliceOptions {
  Method method = Method::kRefit;
  double slice = 0.25;  ///< s, fraction of the hidden size to delete, [0, 1)
  int64_t kept = 0;     ///< k itself, in place of s; 0: from s
  int64_t round = 8;    ///< kept sizes are rounded down to a multiple of it
  HeadMode head = HeadMode::kKeep;
  /// kRefit: a tied head stays tied, behind a map between the bases; else slicing unties it, but a
  /// search for a total looks at both where the head's site is kept.
  bool keep_tie = false;
  /// Between the sites; absent: dense for kSliceGpt, which has no other, none for kRefit.
  std::optional<ShortcutForm> shortcut = std::nullopt;
  int64_t shortcut_rank = 0;  ///< R of kLowRank
  /// kRefit: FFN channels that stay, one number a feed-forward network; empty: all.
  std::vector<int64_t> ffn_sizes = {};
  /// kRefit: calibration windows that the gradient covariances see; absent: half of them.
  std::optional<int64_t> gradient_samples = std::nullopt;
  uint64_t seed = 0;  ///< of the targets that the gradients are taken for

  /// Whether the stream of a model of hidden size D changes its basis. The paper's method rotates
  /// even where it deletes nothing.
  bool rotates(int64_t D) const;
  /// kRefit: a budget in place of slice and ffn_sizes, at most one of them; the plan is searched
  /// for (search.h).
  std::optional<double> remove = std::nullopt;         ///< of all parameters as stored, (0, 1)
  std::optional<double> remove_blocks = std::nullopt;  ///< of block weights and shortcuts, (0, 1)
  std::optional<int64_t> fit_bytes = std::nullopt;     ///< of a device, to run the result in
  int64_t fit_context = 2048, fit_batch = 1;           ///< tokens and sequences that run there
  int64_t fit_weight_bytes = 2;                        ///< of one weight there

  bool budgeted() const { return remove || remove_blocks || fit_bytes; }
  ShortcutForm shortcut_form() const {
    return shortcut.value_or(method == Method::kSliceGpt ? ShortcutForm::kDense
                                                         : ShortcutForm::kNone);
  }
  /// Calibration tokens that pass a sublayer together: memory, not results. 0: kHostChunkTokens on
  /// the CPU, on a GPU what its free memory has room for. Halved whenever a device runs out.
  int64_t chunk_tokens = 0;
  /// Where the signal lives; absent: the first place with room. Memory and time, not results.
  std::optional<SignalPlace> signal_place = std::nullopt;
};

/// @throws ShapeError  options that contradict each other, or are out of range.
void check_options(const SliceOptions& options);

/// Kept size of a site:  k = ⌊(1 − s)·D⌋ rounded down to a multiple of `round`; D for s = 0.
/// (SliceGPT §3.4, reference)
/// @throws ShapeError  s outside [0, 1), round < 1, or nothing left (k < 1).
int64_t kept_size(int64_t D, double slice, int64_t round);

/// Kept size that options ask for: `kept`, or kept_size of `slice` and `round`.
int64_t kept_size(int64_t D, const SliceOptions& options);

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

/// The configuration that slicing a dense model so would give.
/// @throws ShapeError  as check_options and kept_size; as many FFN sizes as layers are wanted
ModelConfig planned_config(const ModelConfig& dense, const SliceOptions& options);

/// A way to reach a budget: a kept size, and how many FFN channels stay in all layers together.
struct Candidate {
  int64_t kept = 0;      ///< k
  int64_t channels = 0;  ///< of all layers together
  bool tied = false;     ///< the head stays the embedding
  ParameterCount after;
  std::optional<double> loss;  ///< of held-out tokens, nats, where it was tried
};

struct ExpectedCost {
  int64_t host_bytes =
      0;  ///< peak: weights in float32 with the head untied, the stream, a chunk, the libraries
  int64_t disk_bytes = 0;  ///< of the sliced model
  double flop = 0;         ///< forward pass, covariances, eigensolves (float64 ones counted twice)
};

/// What slicing on the CPU takes, from sizes alone.
/// @param sliced        what planned_config gave     @param tokens        calibration tokens
/// @param stored_bytes  bytes of a stored weight
ExpectedCost expected_cost(const ModelConfig& dense, const ModelConfig& sliced, Method method,
                           int64_t tokens, int64_t chunk_tokens, int64_t stored_bytes);

}  // namespace slice
