#pragma once

#include <functional>
#include <string>
#include <vector>

#include "libslice/model/kv_cache.h"
#include "libslice/model/norm.h"
#include "libslice/model/shortcut.h"
#include "libslice/model/tap.h"

namespace slice {

/// A linear layer of a user-defined module: handles to its parameters, W (out, in) and b (out) or
/// undefined. They are rewritten by set_data, so that the module sees the new values and keeps its
/// registered names.
struct LinearRef {
  std::string name;  ///< for messages
  at::Tensor weight, bias;
};

/// A feed-forward network of a mixture of experts; its channels are those of Branch.
struct ExpertRef {
  std::vector<LinearRef> readers;  ///< of the normed stream; the router is none of them
  LinearRef writer;
};

/// The tokens that go through an expert, m ≥ 0 of them.
struct ExpertTokens {
  at::Tensor normed;  ///< (m, k), what its readers read
  at::Tensor hidden;  ///< (m, F), what its writer reads
  at::Tensor shares;  ///< (m), what the mixture multiplies its output by

  /// hidden times the shares, (m, F), in its dtype.
  at::Tensor shared() const;
};
using SeeExpert = std::function<void(int64_t expert, const ExpertTokens& tokens)>;

/// The path from a norm to the addition: readers, a function, a writer.
struct Branch {
  std::vector<LinearRef> readers;  ///< read the normed stream: W (…, D)
  /// The writer's input: normed (B, T, k) → (B, T, in of writer). The cache is nullptr while
  /// slicing; a module without a cache ignores it. Must call the modules of the readers.
  std::function<at::Tensor(const at::Tensor& normed, KvCache* cache)> hidden;
  LinearRef writer;  ///< writes into the stream: W (D, …)
  /// A feed-forward network: coordinate i of hidden depends on row i of every reader only, so that
  /// channels can be removed.
  bool channels = false;
  Norm norm{nullptr};  ///< of its own, with the sublayer's eps; empty: it reads the sublayer's norm
  /// A mixture of experts, in place of `hidden` and `writer`: what its networks make together of
  /// the normed stream, (B, T, k) → (B, T, k_b). `readers` holds the router and all of theirs.
  std::function<at::Tensor(const at::Tensor& normed)> mixture = {};
  std::vector<ExpertRef> experts = {};
  /// Shows what experts first … last − 1 make of their tokens of the normed stream.
  std::function<void(const at::Tensor& normed, int64_t first, int64_t last, const SeeExpert& see)>
      expert_hidden = {};

  bool mixes() const { return static_cast<bool>(mixture); }
  /// What a writer reads: F of a feed-forward network.
  int64_t width() const { return (mixes() ? experts.front().writer : writer).weight.size(1); }
  /// All that write into the stream.
  std::vector<LinearRef> writers() const;
  /// What they write: normed (B, T, k) → (B, T, k_b).
  at::Tensor written(const at::Tensor& normed, KvCache* cache = nullptr) const;
};

/// x ← shortcut(x) + out_norm(scale · Σᵢ writerᵢ(hiddenᵢ(norm(x)))): attention or MLP of a
/// sequential block, or a whole parallel block. A non-owning view over a model's own modules.
struct Sublayer {
  std::string name;
  Norm norm{nullptr};  ///< all norms of a model are of one kind, or kNone
  std::vector<Branch> branches;
  double scale = 1;  ///< of what the writers write
  Shortcut shortcut{nullptr};
  Tap* tap = nullptr;  ///< receives the stream after the addition
  /// An RMSNorm on what the writers write; empty: none. The stream then keeps its basis.
  Norm out_norm{nullptr};

  /// Whether it is a mixture of experts.
  bool mixes() const { return branches.size() == 1 && branches[0].mixes(); }
  /// What a branch reads.
  const Norm& norm_of(const Branch& branch) const {
    return branch.norm.is_empty() ? norm : branch.norm;
  }
  /// o = scale · Σᵢ writerᵢ(hiddenᵢ(norm(x))): x (B, T, k_a) → (B, T, k_b).
  at::Tensor output(const at::Tensor& x, KvCache* cache = nullptr) const;
  /// What an output o (…, k_b) adds to the stream: out_norm(o), or o itself.
  at::Tensor addend(const at::Tensor& o) const;
  /// addend(output(x)): x (B, T, k_a) → (B, T, k_b).
  at::Tensor written(const at::Tensor& x, KvCache* cache = nullptr) const;
  /// The stream after the sublayer whose output for x is o, shown to the tap.
  at::Tensor after(const at::Tensor& x, const at::Tensor& o) const;
  /// One sublayer: x (B, T, k_a) → (B, T, k_b).
  at::Tensor forward(const at::Tensor& x, KvCache* cache = nullptr) const;
};

/// What is made of the head's logits before the softmax: scaled, then c · tanh(x / c).
struct LogitForm {
  double scale = 1;
  double softcap = 0;  ///< c; 0: none

  /// logits (…, V) → (…, V)
  at::Tensor operator()(const at::Tensor& logits) const;
};

/// A decoder as the slicing loop sees it. libslice's own models describe themselves so, and a
/// user-defined torch::nn transformer with such a description is sliced in place
/// (examples/own_transformer.cpp).
struct ModelAdapter {
  int64_t hidden_size = 0;            ///< D
  std::vector<LinearRef> embeddings;  ///< summed into the stream: W (rows, D)
  std::function<at::Tensor(const at::Tensor& tokens)> embed;  ///< (B, T) int64 → (B, T, k)
  std::vector<Sublayer> sublayers;                            ///< in the order of the stream
  Norm final_norm{nullptr};
  /// W (V, D); must not share memory with an embedding that is rotated, unless it keeps its tie.
  LinearRef head;
  /// The map before a head that keeps its tie: W (k_0, k_last), b (k_0).
  LinearRef head_map = {};
  LogitForm logit_form = {};  ///< of what the head gives
};

/// Checks that the parts of an adapter fit together before anything is rewritten.
///
/// @param rotates   whether the stream changes its basis, so that norms are fused and the head is
///                  rewritten; otherwise the head may be tied and readers of a LayerNorm may lack
///                  a bias
/// @param keep_tie  whether the head may be tied all the same, and lack a bias
/// @throws ShapeError     a reader, writer, norm or head that is missing or of another width than D
///                        (named)
/// @throws ArgumentError  another part that is missing; a reader of a LayerNorm without a bias;
///                        norms of two kinds, or of two eps in a sublayer; a head that shares the
///                        embedding's memory; a sublayer that is sliced already; as check_rotates,
///                        if it rotates
/// @throws NumericError   a NaN or Inf in a weight (named)
void check_adapter(const ModelAdapter& model, bool rotates = true, bool keep_tie = false);
/// @throws ArgumentError  a sublayer has a norm on its output, whose weight belongs to the
///                        coordinates of the stream as it is (named)
void check_rotates(const ModelAdapter& model);

}  // namespace slice
