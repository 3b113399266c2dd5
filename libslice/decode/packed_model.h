#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace slice {

class Model;

namespace detail {
struct DecodeModel;
}

/// Short texts one after another in a single row of tokens, none of them padded. Several may have
/// one beginning, which is there once.
class PackedTexts {
 public:
  /// A beginning (maybe empty) that the texts added from now on have.
  void begin(std::span<const int64_t> ids);
  /// What a text has after its beginning, at least one token. @return  place of the first of them
  int64_t add(std::span<const int64_t> ids);

  int64_t tokens() const { return static_cast<int64_t>(ids_.size()); }
  /// Keys that all pieces see: what a beginning has counts again for every text that follows.
  int64_t seen() const { return static_cast<int64_t>(seen_.size()); }

 private:
  friend class PackedModel;
  void add_piece(std::span<const int64_t> ids, int64_t first);

  int64_t begun_ = 0, beginning_ = 0;  // place and length of the last beginning
  std::vector<int64_t> ids_, positions_;
  std::vector<int64_t> seen_;  // places, those of each piece in turn
  std::vector<int32_t> query_starts_ = {0}, key_starts_ = {0};  // of pieces in ids_, in seen_
};

/// A model on a CUDA device laid out to run packed texts: products are cuBLAS's, over all tokens at
/// one time; attention is LibTorch's fused one over texts of their own lengths; norm, rotary
/// positions and a gated activation are a kernel each. Its weights are those of the model, laid out
/// as for a Generator, so the model must outlive this.
class PackedModel {
 public:
  /// Whether there is one for this model: on a CUDA device, not float64, heads of a size and parts
  /// that the kernels take, rotary positions that do not depend on the length of a text.
  static bool runs(const Model& model);

  /// @param positions  of the longest text, at most the model's
  /// @throws ArgumentError  runs(model) is false, too many positions
  PackedModel(const Model& model, int64_t positions);
  ~PackedModel();
  PackedModel(PackedModel&&) noexcept;

  /// The stream after the last sublayer, (tokens, k_last), which DecoderImpl::logits reads.
  /// @param texts  at least one token; ids are not checked here
  /// Cost: one forward pass over texts.tokens(). Memory: working_bytes(texts).
  at::Tensor stream(const PackedTexts& texts) const;
  /// What texts take on their way through a layer, at most.
  int64_t working_bytes(const PackedTexts& texts) const;

 private:
  std::unique_ptr<detail::DecodeModel> model_;
};

}  // namespace slice
