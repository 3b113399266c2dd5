#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "libslice/model/config.h"

namespace slice {

/// The head's site.
enum class HeadMode {
  kKeep,   ///< keeps all D coordinates: the head is not sliced (as in the paper's tables)
  kSlice,  ///< sliced like every other site
};

/// What a search for a budget may choose.
enum class Layout {
  kStock,  ///< plans that whatever loads the dense model loads: unmodified Transformers, vLLM,
           ///< llama.cpp (output_form.h)
  kFree,   ///< all plans
};

/// Tokens of a chunk on the CPU.
inline constexpr int64_t kHostChunkTokens = 4096;

/// Multiple that a kept size is rounded down to, unless another one is asked for.
inline constexpr int64_t kRound = 8;

/// How to slice.
enum class Method {
  kSliceGpt,  ///< the paper's: principal directions, dense shortcuts (docs/method.md, "Slicing")
  kRefit,     ///< output-aware directions, writers fitted to the dense model ("Refit")
};

/// Where the signal of all calibration tokens is kept.
enum class SignalPlace {
  kDevice,  ///< memory of the device that computes, which may be the CPU
  kHost,    ///< page-locked memory of the host
  kDisk,    ///< an unnamed file
};

/// What to remove, and how.
struct SliceOptions {
  Method method = Method::kRefit;
  double slice = 0.25;  ///< s, fraction of the hidden size to delete, [0, 1)
  int64_t kept = 0;     ///< k itself, in place of s; 0: from s
  /// Kept sizes are rounded down to a multiple of it, and so are the FFN widths that a search
  /// chooses. Absent: kRound, and of a search what fits the hardware (candidates.h).
  std::optional<int64_t> round = std::nullopt;
  /// Of a search kKeep leaves it to the plan; kSlice wants every site of it sliced.
  HeadMode head = HeadMode::kKeep;
  /// kRefit: a tied head stays tied, and reads through a map between the bases. Otherwise slicing
  /// unties it, except that a search for a total tries both where the head's site is kept.
  bool keep_tie = false;
  /// Absent: dense for kSliceGpt, which has no other; none for kRefit.
  std::optional<ShortcutForm> shortcut = std::nullopt;
  int64_t shortcut_rank = 0;  ///< R of kLowRank
  /// kRefit: FFN channels to keep, one number a feed-forward network; empty: all.
  std::vector<int64_t> ffn_sizes = {};
  /// kRefit: calibration windows that gradients are taken on; absent: half of them.
  std::optional<int64_t> gradient_samples = std::nullopt;
  uint64_t seed = 0;  ///< kRefit: of the targets that gradients are taken for
  /// kRefit: forward and backward passes of a float32 model on a GPU multiply in TF32 (10 bits of
  /// each factor's fraction, float32 sums); false: exactly. LibTorch's switch is the process's and is set
  /// while slicing runs, so that runs in several threads share the latest choice.
  bool tf32 = true;
  /// kRefit: epochs of training after every closed form (docs/method.md, "Recovery"); not in trials.
  int64_t recover = 0;

  /// Whether the residual stream of a model of hidden size D changes its basis. The paper's method
  /// rotates even where it deletes nothing.
  bool rotates(int64_t D) const;
  /// kRefit: at most one budget, in place of slice and ffn_sizes, for which a plan is searched
  /// (search.h).
  std::optional<double> remove = std::nullopt;         ///< of all parameters as stored, (0, 1)
  std::optional<double> remove_blocks = std::nullopt;  ///< of block weights and shortcuts, (0, 1)
  std::optional<int64_t> fit_bytes = std::nullopt;     ///< memory of the target device
  int64_t fit_context = 2048, fit_batch = 1;           ///< tokens and sequences that run there
  int64_t fit_weight_bytes = 2;                        ///< of one weight there

  /// Of these plans. The others are tried as well, so that the report tells what it costs.
  Layout layout = Layout::kStock;
  bool only_gguf = false;  ///< of these plans only those that llama.cpp runs (gguf_write.h)

  bool budgeted() const { return remove || remove_blocks || fit_bytes; }
  ShortcutForm shortcut_form() const {
    return shortcut.value_or(method == Method::kSliceGpt ? ShortcutForm::kDense
                                                         : ShortcutForm::kNone);
  }
  /// Calibration tokens that run through a sublayer together; changes memory, not results. 0:
  /// kHostChunkTokens on the CPU, on a GPU what its free memory has room for. Halved whenever a
  /// device runs out of memory.
  int64_t chunk_tokens = 0;
  /// Where the signal is kept; absent: the first place with room. Changes memory and time, not
  /// results.
  std::optional<SignalPlace> signal_place = std::nullopt;
};

/// @throws ArgumentError  options that contradict each other, or are out of range.
void check_options(const SliceOptions& options);

/// Kept size of a site:  k = ⌊(1 − s)·D⌋ rounded down to a multiple of `round`; D for s = 0.
/// (SliceGPT §3.4, reference)
/// @throws ArgumentError  s outside [0, 1), round < 1, or nothing left (k < 1).
int64_t kept_size(int64_t D, double slice, int64_t round);

/// Kept size that options ask for: `kept`, or kept_size of `slice` and `round`.
int64_t kept_size(int64_t D, const SliceOptions& options);

/// The options with the kept size that they ask of this model. Where save_model writes the result
/// in the stock form of a LayerNorm family, whose hidden size is h = k + 1 (docs/method.md, "Stock
/// form"), slice and round say h: a multiple of 8 runs faster than one that is one more.
SliceOptions with_kept_size(const ModelConfig& dense, SliceOptions options);

/// Coordinates that the hidden size which is written has beside the k kept ones: 1 in the case
/// above, else 0.
int64_t mean_coordinates(const ModelConfig& dense, const SliceOptions& options);

/// Kept sizes of all sites of a model of hidden size D: one before every sublayer and one before
/// the head.
std::vector<int64_t> plan_stream_sizes(int64_t D, int64_t sites, const SliceOptions& options);

struct ParameterCount {
  int64_t total = 0;   ///< all parameters as stored, a tied matrix once
  int64_t blocks = 0;  ///< weight matrices of the blocks, shortcuts included; no biases, no norms
  int64_t shortcuts = 0;  ///< of those, the rotated shortcuts
  int64_t idle = 0;       ///< of those, experts that a token does not go through
  /// What decoding one token of one text reads: all but the other rows of the embeddings and the
  /// idle experts. Several texts at once read more.
  int64_t read = 0;
  /// Elements of the matrices that it is multiplied by, two FLOP each; attention to the tokens
  /// before it comes on top.
  int64_t multiplied = 0;
  int64_t embeddings = 0;  ///< of tokens and positions; a tied head is these
  int64_t attention = 0;   ///< of the blocks, without shortcuts
  int64_t head = 0;        ///< a head of its own, and the map before a tied one

  /// Feed-forward networks; biases and norms.
  int64_t ffn() const { return blocks - attention - shortcuts; }
  int64_t others() const { return total - embeddings - blocks - head; }

  /// Whether it stores more than another one, or reads more for a token.
  bool exceeds(const ParameterCount& other) const {
    return total > other.total || read > other.read;
  }
};

/// Counts the parameters of a model from its sizes alone, dense or sliced (config.stream_sizes).
/// (docs/method.md, "Counting")
ParameterCount count_parameters(const ModelConfig& config);

/// The configuration of a dense model once sliced with these options; what with_kept_size says is
/// taken into account.
/// @throws ArgumentError  as check_options and kept_size; FFN sizes other than one a layer, from 1
///                        to the layer's width
ModelConfig planned_config(const ModelConfig& dense, const SliceOptions& options);

}  // namespace slice
