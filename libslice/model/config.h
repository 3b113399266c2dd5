#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "libslice/model/rope_scaling.h"

namespace slice {

/// The norm before attention and feed-forward.
enum class NormKind {
  kRms,    ///< x / rms(x) · α
  kLayer,  ///< (x − mean(x)) / std(x) · α + β, where there are such
  kNone,   ///< x itself
};

/// Where the sublayers have norms. Of a model with norms on outputs the stream keeps its basis.
///   (docs/method.md, "Norms on outputs")
enum class NormPlace {
  kBefore,  ///< x + f(norm(x))
  kAfter,   ///< x + norm(f(x))
  kBoth,    ///< x + norm(f(norm(x)))
};

/// Nonlinearity of the feed-forward network.
enum class Activation {
  kSilu,
  kRelu,
  kGelu,      ///< x · Φ(x)
  kGeluTanh,  ///< its tanh approximation, "gelu_new"
  kRelu2,     ///< relu(x)²
  kXielu,     ///< xIELU, with learned constants of its own in every layer (mlp.h)
};

/// A norm of the queries and of the keys.
enum class HeadNorm {
  kNone,
  kEach,  ///< RMSNorm of every head, one weight (d) for all of them
  kAll,   ///< RMSNorm over all heads together, weights (h·d) and (kv·d)
};

/// Queries at position t are multiplied by 1 + β log(1 + ⌊t / period⌋).
struct QueryGrowth {
  double beta = 0;
  int64_t period = 1;

  bool operator==(const QueryGrowth&) const = default;
};

/// A router and several feed-forward networks, of which every token goes through the few that the
/// router gives most to.                                         (docs/method.md, "Experts")
struct ExpertSizes {
  int64_t count = 0;        ///< E; 0: one network for all tokens, without a router
  int64_t per_token = 0;    ///< networks that a token goes through
  bool normalised = false;  ///< their shares are divided by their sum

  bool operator==(const ExpertSizes&) const = default;
};

/// How a shortcut maps the residual stream from the basis of one site to that of the next.
///   (docs/method.md, "Shortcuts")
enum class ShortcutForm {
  kDense,     ///< S = P_aᵀ P_b, k_a·k_b parameters
  kDiagonal,  ///< every second shortcut is a vector, the others are dense
  kLowRank,   ///< I + down·up
  kNone,      ///< the identity, padded with zeros where the last site keeps all of D
};

/// "dense", "diagonal", "lowrank", "none": the name in config.json and in reports.
std::string shortcut_name(ShortcutForm form);

/// Sizes and constants of a decoder, independent of the file format. Letters: docs/notation.md.
struct ModelConfig {
  std::string family;       ///< "llama": the description in libslice/model/families/ that builds it
  int64_t hidden_size = 0;  ///< D, of the unsliced model: every norm divides by it
  int64_t layers = 0;       ///< L
  int64_t heads = 0;        ///< h, query heads
  int64_t kv_heads = 0;     ///< key/value heads, a divisor of h (GQA)
  int64_t head_size = 0;    ///< d
  int64_t ffn_size = 0;     ///< F
  int64_t vocabulary_size = 0;  ///< V
  int64_t context_length = 0;   ///< positions the model was trained for
  NormKind norm = NormKind::kRms;
  double norm_eps = 1e-5;                     ///< inside the root of every norm
  NormPlace norm_place = NormPlace::kBefore;  ///< of sublayers; the head has a norm before it
  bool norm_weight = true, norm_bias = true;  ///< norms have α; LayerNorms have β
  /// Attention and feed-forward read the same stream and are added to it together.
  bool parallel_block = false;
  /// Each branch of a parallel block has a norm of its own; a sliced one has one norm all the same.
  bool branch_norms = false;

  double rope_theta = 10000.0;  ///< base of the rotary frequencies
  std::optional<RopeScaling> rope_scaling;
  std::optional<int64_t>
      rotary_size;  ///< leading coordinates of a head that are rotated; absent: d
  /// Rows of a learned position table, added to the embedding instead of rotary positions; 0: none.
  int64_t learned_positions = 0;
  int64_t position_offset = 0;            ///< row of the table for position 0
  std::vector<bool> rotary_layers;        ///< of each layer, whether its heads turn; empty: all do
  std::optional<int64_t> sliding_window;  ///< positions that a query sees, itself the last
  std::vector<bool> window_layers;        ///< of each layer, whether it has the window; empty: all
  /// Rotary base of the layers with the window, whose frequencies are not scaled then.
  std::optional<double> window_rope_theta;

  HeadNorm head_norm = HeadNorm::kNone;
  bool norms_turned_heads = false;          ///< queries and keys turn before they are normed
  std::optional<QueryGrowth> query_growth;  ///< absent: every position's are as they are
  std::optional<double> attention_scale;    ///< of q·k; absent: 1 / √d
  /// c: q·k and the logits go through c · tanh(x / c); 0: they do not.
  double attention_softcap = 0, logit_softcap = 0;
  /// What is multiplied by a constant: token embeddings, what a sublayer adds to the stream, logits
  /// (before their soft cap).
  double embedding_scale = 1, residual_scale = 1, logit_scale = 1;

  Activation activation = Activation::kSilu;
  bool gated_mlp = true;  ///< activation(gate) · up; else activation(up)
  ExpertSizes experts;    ///< in every layer, each network as wide as the layer's ffn_width
  /// The head is the token embedding, in a sliced model after a map from the last site's basis to
  /// the first one's.
  bool tied_head = false;
  bool qkv_bias = false;     ///< q, k and v carry biases
  bool output_bias = false;  ///< the output projection of attention does
  bool mlp_bias = false;     ///< gate, up and down do
  bool head_bias = false;    ///< the head does
  std::optional<int64_t> bos_token, pad_token;
  /// Every token that ends a text: the union of what the source's files say.
  std::vector<int64_t> eos_tokens;
  /// Text of the source's generation_config.json; empty where it has none.
  std::string generation;

  /// Kept hidden size k of each site; empty for a model that is not sliced. A sliced model is
  /// fused: its norms have no weights, what reads them has biases where they had a β, and its head
  /// is untied unless it keeps its tie.
  std::vector<int64_t> stream_sizes;
  ShortcutForm shortcut = ShortcutForm::kDense;  ///< of a sliced model
  int64_t shortcut_rank = 0;                     ///< R of a low-rank one
  /// FFN width of each layer where channels were removed; empty: ffn_size in all layers.
  std::vector<int64_t> ffn_sizes;

  bool sliced() const { return !stream_sizes.empty(); }
  /// Whether the norms of the dense model have a β.
  bool shifts() const { return norm == NormKind::kLayer && norm_bias; }
  /// Whether what a sublayer writes goes through a norm.
  bool norms_outputs() const { return norm_place != NormPlace::kBefore; }
  /// Whether there is a map before a tied head.
  bool maps_head() const { return sliced() && tied_head; }
  /// Points of the stream before a norm: 2·L + 1, with parallel blocks L + 1.
  int64_t sites() const { return (parallel_block ? 1 : 2) * layers + 1; }
  /// Kept hidden size at `site` (0 … sites() − 1); D in a dense model.
  int64_t stream_size(int64_t site) const;
  /// FFN width of a layer.
  int64_t ffn_width(int64_t layer) const;
  /// Whether layers have a router and several networks.
  bool routed() const { return experts.count > 0; }
  /// Positions that a query of this layer sees, itself the last; 0: all.
  int64_t window(int64_t layer) const;
  /// Leading coordinates of a head that turn in this layer; 0 without rotary positions.
  int64_t turning(int64_t layer) const;
  /// Tokens that a text may have: those of a learned position table; without one the largest int64.
  int64_t positions() const;
  /// Those of all layers.
  std::vector<int64_t> ffn_widths() const;
  /// Sublayers: two per layer, one per parallel block.
  int64_t sublayers() const { return sites() - 1; }
  /// The shortcut around a sublayer of a sliced model. Forms other than kDense need none where the
  /// last site keeps D: its basis extends the previous one.
  ShortcutForm shortcut_of(int64_t sublayer) const;
};

/// The configuration of a model after slicing to these sizes: the head is untied unless it keeps
/// its tie, and what reads the stream has a bias where LayerNorms leave one.
ModelConfig sliced_config(const ModelConfig& dense, std::vector<int64_t> stream_sizes,
                          bool keep_tie = false);
/// The configuration with these FFN widths, one per layer; equal ones become ffn_size.
ModelConfig narrowed_config(ModelConfig config, std::vector<int64_t> ffn_sizes);

/// Refuses sizes that are out of range or contradict each other.
/// @throws FormatError  names `origin` and the key
void check_config(const ModelConfig& config, const std::string& origin);

}  // namespace slice
