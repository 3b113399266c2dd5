#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "libslice/decode/group_decoder.h"

namespace slice {

/// Decoding a model that no device holds alone: every rank of a group reads and keeps a run of
/// layers with their keys and values, the first rank also the embedding, the last one the head, and
/// the residual stream goes from rank to rank. The logits are those of a Generator's modules, to
/// the bit where devices are alike.
///
/// A token's time is the sum of the ranks' times: a pipeline is for what does not fit.
class Pipeline : public GroupDecoder {
 public:
  /// Reads this rank's weights.
  /// @throws ArgumentError  fewer layers than ranks, capacity or batch < 1
  /// @throws FormatError, NumericError, DeviceError  as load_model
  Pipeline(const Checkpoint& checkpoint, const ProcessGroup& group,
           const GroupDecoderOptions& options = {});

  /// First layer of this rank, and the first of the next one.
  std::pair<int64_t, int64_t> layers() const { return layers_; }

 private:
  at::Tensor stream(const at::Tensor& tokens, KvCache* cache) const override;
  at::Tensor head(const at::Tensor& stream) const override;
  bool first() const { return group_.rank() == 0; }
  bool last() const { return group_.rank() == group_.size() - 1; }

  std::pair<int64_t, int64_t> layers_;
};

/// Where a model is cut so that the heaviest of `stages` runs of layers, embedding and head
/// counted, has the fewest parameters: stages + 1 layers, 0 first and L last.
/// @throws ArgumentError  fewer layers than stages
std::vector<int64_t> split_layers(const ModelConfig& config, int64_t stages);

}  // namespace slice
