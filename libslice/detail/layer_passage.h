#pragma once

#include <future>
#include <map>
#include <string>
#include <vector>

#include "libslice/checkpoint.h"
#include "libslice/decoder.h"
#include "libslice/detail/slice_record.h"
#include "libslice/detail/slice_sublayers.h"

namespace slice::detail {

/// Weights on their way from a checkpoint through a decoder into shards, a group at a time: the
/// embeddings, each layer, the head with the final norm. One thread reads the next group ahead,
/// another writes the last one.
class LayerPassage {
 public:
  /// Empties the decoder: from now on its weights are placeholders of this dtype and device.
  /// @param decoder  its head prepared     @param sliced  what it will be: names and shapes of the
  /// files     @param written  their dtype
  /// @param record  outlives this; told of every layer that is on the disk, and asked where to
  /// begin; or nullptr
  LayerPassage(DecoderImpl& decoder, const Checkpoint& checkpoint, const ModelConfig& sliced,
               const std::filesystem::path& directory, at::Device device, at::ScalarType dtype,
               at::ScalarType written, int64_t shard_bytes, SliceRecord* record);
  LayerPassage(const LayerPassage&) = delete;

  /// What the loop is to call.
  Passage passage();
  /// Waits for the last group and writes the index. @throws Error  as ShardWriter
  void finish();

  double enter_seconds() const { return enter_seconds_; }  ///< the loop waited for weights
  double leave_seconds() const { return leave_seconds_; }  ///< and for the disk

 private:
  using Group = std::map<std::string, at::Tensor>;  // by name
  using Names = std::vector<std::string>;

  int64_t group_of(const std::string& name) const;
  int64_t group_of(int64_t part) const;
  Group read(int64_t group) const;
  void read_ahead(int64_t group);
  void enter(int64_t part);
  void leave(int64_t part);
  void rest(int64_t part, const Stream& x, const at::Tensor& P);
  void write(const std::vector<std::pair<std::string, at::Tensor>>& weights);
  void write_durably(int64_t group, const std::vector<std::pair<std::string, at::Tensor>>& weights,
                     const std::map<int64_t, FoundSite>& found);

  DecoderImpl& decoder_;
  const Checkpoint& checkpoint_;
  at::Device device_;
  at::ScalarType dtype_;
  int64_t parts_a_layer_, layers_;
  std::string layers_prefix_, embedding_, positions_, head_;
  std::vector<Names> dense_, written_;  // of each group, the files' in their order
  ShardWriter writer_;
  SliceRecord* record_;
  int64_t entered_ = -1;  // last group
  double enter_seconds_ = 0, leave_seconds_ = 0;
  std::future<Group> reading_;
  std::future<void> writing_;  // last, as they go first: destroying them waits for their threads
};

}  // namespace slice::detail
