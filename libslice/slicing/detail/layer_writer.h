#pragma once

#include <future>
#include <map>
#include <string>
#include <vector>

#include "libslice/checkpoint/checkpoint.h"
#include "libslice/checkpoint/shard_writer.h"
#include "libslice/checkpoint/stock.h"
#include "libslice/checkpoint/stored_tensors.h"
#include "libslice/model/decoder.h"
#include "libslice/slicing/detail/layer_reader.h"
#include "libslice/slicing/detail/resume_journal.h"
#include "libslice/slicing/detail/slice_sublayers.h"

namespace slice::detail {

/// Writes a decoder's sliced weights into shards, group by group (layer_reader.h), as a loop leaves
/// them. One thread reads the next group ahead, another writes the last one.
class LayerWriter {
 public:
  /// @param sliced   the decoder's configuration once sliced; the files are of its written form
  /// @param written  their dtype
  /// @param journal  outlives this; told of every layer that is on the disk, and asked where to
  ///                 begin; or nullptr
  /// @throws FormatError, Error  layers on the disk are not those of the journal
  LayerWriter(DecoderImpl& decoder, LayerReader& reader, const ModelConfig& sliced,
              const std::filesystem::path& directory, at::Device device, at::ScalarType written,
              int64_t shard_bytes, ResumeJournal* journal);
  LayerWriter(const LayerWriter&) = delete;

  /// For the loop.
  LayerHooks hooks();
  /// Waits for the last group and writes the index. @throws Error  as ShardWriter
  void finish();

  double leave_seconds() const { return leave_seconds_; }  ///< the loop waited for the disk

 private:
  /// Tensors of the files that hold the groups before this one.
  int64_t tensors_before(int64_t group) const;
  /// Of a group's weights on the disk.
  std::string hash(int64_t group) const;
  void enter(int64_t part);
  void leave(int64_t part);
  std::string save(int64_t part, const LoopState& state);
  void write(const std::vector<std::pair<std::string, at::Tensor>>& weights);
  void write_durably(int64_t group, const std::vector<std::pair<std::string, at::Tensor>>& weights,
                     const std::map<int64_t, FoundSite>& found);

  DecoderImpl& decoder_;
  LayerReader& reader_;
  at::Device device_;
  WrittenForm form_;
  StoredTensors stored_;
  std::vector<std::vector<std::string>> written_;  // parameters of each group, in the files' order
  ShardWriter writer_;
  ResumeJournal* journal_;
  int64_t entered_ = -1;  // last group
  double leave_seconds_ = 0;
  std::future<void> writing_;  // last, as it goes first: destroying it waits for its thread
};

}  // namespace slice::detail
