#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "libslice/process_group.h"

namespace slice {

class Checkpoint;
class DecoderImpl;
class KvCache;
struct ModelConfig;

struct PipelineOptions {
  at::Device device = at::kCPU;
  /// What the weights are held and computed in: float32 on the CPU when absent, on a GPU the stored
  /// dtype, float16 of a quantised file.
  std::optional<at::ScalarType> dtype = std::nullopt;
  int64_t capacity = 2048;  ///< positions in all, prompt included
  int64_t batch = 1;
};

/// Decoding a model that no device holds alone: every rank of a group reads and keeps a run of
/// layers with their keys and values, the first one the embedding beside it, the last one the head,
/// and the stream goes from rank to rank. All ranks call the same members with the same tokens, and
/// all get the same logits: those of a Generator's modules, to the bit where devices are alike.
///
/// A token's time is the sum of the ranks' times: a pipeline is for what does not fit.
class Pipeline {
 public:
  /// Reads this rank's weights. @throws ShapeError  fewer layers than ranks, capacity or batch < 1
  /// @throws FormatError, NumericError, DeviceError  as load_model
  Pipeline(const Checkpoint& checkpoint, const ProcessGroup& group, const PipelineOptions& options);
  ~Pipeline();
  Pipeline(Pipeline&&) noexcept;

  /// Continues with tokens (B, T) int64. @return  logits (B, V) of the token that follows, on this
  /// rank's device. @throws ShapeError  as Generator::feed   @throws Error  another rank ended
  at::Tensor feed(const at::Tensor& tokens);
  /// Feeds the most likely token n times, ties the lowest id. @return  the tokens fed, (B, n) int64
  /// @throws ShapeError  nothing was fed yet, or as feed   @throws NumericError  a NaN or Inf in
  /// the logits
  at::Tensor continue_greedy(int64_t n);
  /// Positions fed so far.
  int64_t length() const;
  /// First layer of this rank, and the first of the next one.
  std::pair<int64_t, int64_t> layers() const { return layers_; }

 private:
  bool first() const { return group_.rank() == 0; }
  bool last() const { return group_.rank() == group_.size() - 1; }
  void read_weights(const Checkpoint& checkpoint);
  at::Tensor embed(const at::Tensor& tokens) const;

  ProcessGroup group_;
  at::TensorOptions held_;
  std::pair<int64_t, int64_t> layers_;
  std::shared_ptr<DecoderImpl> decoder_;  // of these layers alone
  std::unique_ptr<KvCache> cache_;
  at::Tensor logits_;
};

/// Where a model is cut so that the heaviest of `stages` runs of layers, embedding and head
/// counted, has as few parameters as can be: stages + 1 layers, 0 first and L last.
/// @throws ShapeError  fewer layers than stages
std::vector<int64_t> split_layers(const ModelConfig& config, int64_t stages);

}  // namespace slice
