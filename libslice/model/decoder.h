#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "libslice/model/adapter.h"
#include "libslice/model/attention.h"
#include "libslice/model/config.h"
#include "libslice/model/linear.h"
#include "libslice/model/mlp.h"
#include "libslice/model/tap.h"

namespace slice {

/// A decoder-only transformer of any supported family, dense or sliced. Its registered names are
/// the Hugging Face names of the family, so `named_parameters()` is the checkpoint's key list.
/// Built without memory for weights: load_parameters (model.h) fills them in.
class DecoderImpl : public torch::nn::Module {
 public:
  explicit DecoderImpl(const ModelConfig& config);

  /// tokens (B, T) int64 → the stream after the last sublayer, (B, T, k_last). With a cache,
  /// `tokens` continue it. Throws as check_tokens does.
  at::Tensor stream(const at::Tensor& tokens, KvCache* cache = nullptr) const;
  /// tokens (B, T) from position `first` on → (B, T, k_0), new memory. Throws as check_tokens does.
  at::Tensor embed(const at::Tensor& tokens, int64_t first) const;
  /// Checks tokens from position `first` on; the only check of a model's tokens. Waits for the
  /// device that holds them.
  /// @throws ShapeError     they are not (B, T) int64, or there are none
  /// @throws ArgumentError  an id outside the vocabulary, more positions than a learned table has
  void check_tokens(const at::Tensor& tokens, int64_t first) const;
  /// ModelConfig::positions.
  int64_t positions() const { return config_.positions(); }
  /// @throws ArgumentError  a learned position table has fewer positions than `count`
  void check_positions(int64_t count) const;
  /// The learned position table (learned_positions, k_0); undefined with rotary positions.
  at::Tensor position_rows() const;
  /// What norms a layer's queries and keys; empty without ModelConfig::head_norm.
  const std::pair<Norm, Norm>& head_norms(int64_t layer) const { return head_norms_[layer]; }
  /// Stream (…, k_last) → logits (…, V).
  at::Tensor logits(const at::Tensor& stream) const;
  /// tokens (B, T) → logits (B, T, V).
  at::Tensor forward(const at::Tensor& tokens, KvCache* cache = nullptr) const {
    return logits(stream(tokens, cache));
  }

  const ModelConfig& config() const { return config_; }
  /// Prepares what reads the norms before attention and feed-forward for fusing and slicing: after
  /// norms with a β it gets biases of zeros where it has none, and so does down.
  void prepare_readers();
  /// The same weights in another decoder, whose readers are prepared.
  std::shared_ptr<DecoderImpl> with_prepared_readers() const;
  /// Prepares the readers and the head: a tied one gets a weight of its own, a copy of the
  /// embedding's, and one after a norm with a β gets a bias of zeros if it has none.
  void prepare_head();
  /// Puts a map W (k_0, k_last), b (k_0) or undefined, before a tied head.
  void set_head_map(const at::Tensor& weight, const at::Tensor& bias);
  /// The view that the slicing loop works on; the head of a tied model is the embedding. Must not
  /// outlive the decoder.
  ModelAdapter adapter() const;
  /// Records that the model was sliced to these sizes, one per site, with shortcuts of this form.
  /// @throws ArgumentError  another number of sizes
  void set_sliced(std::vector<int64_t> sizes, ShortcutForm shortcut = ShortcutForm::kDense,
                  int64_t rank = 0);
  /// Records that FFN channels were removed: the remaining widths, one per layer.
  /// @throws ArgumentError  another number of sizes
  void set_ffn_sizes(std::vector<int64_t> sizes);

  at::Device device() const { return embedding_->weight.device(); }
  at::ScalarType dtype() const { return embedding_->weight.scalar_type(); }

 private:
  static LinearRef view(const std::string& name, const Linear& linear);
  Linear add_linear(const std::string& path, int64_t in, int64_t out, bool bias);
  void add_head_map(bool bias);
  Xielu add_xielu(const std::string& path);
  Norm add_norm(const std::string& path, NormKind kind);
  /// Of queries or keys, which are `width` wide; empty without one.
  Norm add_head_norm(const std::string& path, int64_t width);
  Shortcut add_shortcut(const std::string& path, int64_t site);
  Branch add_attention(int64_t layer, int64_t site);
  Branch add_mlp(int64_t layer, int64_t site);
  Branch add_experts(int64_t layer, int64_t site);
  void add_sublayer(const std::string& path, const std::string& norm, const std::string& out_norm,
                    int64_t site, std::vector<Branch> branches);
  void add_layer(int64_t layer);

  ModelConfig config_;
  Embedding embedding_{nullptr}, positions_{nullptr};  // positions: learned ones only
  std::vector<Sublayer> sublayers_;
  std::vector<std::unique_ptr<Tap>> taps_;
  std::vector<std::pair<Norm, Norm>> head_norms_;  // of each layer, of q and of k
  Norm final_norm_{nullptr};
  Linear head_{nullptr};      // empty while tied
  Linear head_map_{nullptr};  // before the tied head of a sliced model
};
TORCH_MODULE(Decoder);

}  // namespace slice
