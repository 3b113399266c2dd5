#pragma once

#include <cstdint>
#include <future>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "libslice/checkpoint/checkpoint.h"
#include "libslice/model/decoder.h"

namespace slice::detail {

/// Reads the weights of a checkpoint into a decoder, a group at a time: the embeddings, each layer,
/// the head with the final norm. A thread reads one group ahead.
class LayerReader {
 public:
  /// Empties the decoder: its weights become placeholders of this dtype and device.
  LayerReader(DecoderImpl& decoder, const Checkpoint& checkpoint, at::Device device,
              at::ScalarType dtype);
  LayerReader(const LayerReader&) = delete;

  /// Parts are those of LayerHooks (slice_sublayers.h).
  int64_t group_of(int64_t part) const;
  int64_t group_of(const std::string& name) const;
  int64_t groups() const { return layers_ + 2; }

  /// Begins to read a group, if there is one of that number.
  void read_ahead(int64_t group);
  /// Puts a group's weights into the decoder. @throws NumericError  one is not finite (names it)
  void place(int64_t group);
  /// Makes a parameter a placeholder again.
  void remove(at::Tensor parameter) const;

  /// Puts the groups of these parts into the decoder and removes all others, for loops that leave
  /// the weights as they are; a tied head brings the embedding along.
  void hold(int64_t first_part, int64_t last_part);
  /// Removes all groups.
  void release();

  bool own_head() const { return own_head_; }  ///< it is not the embedding
  double seconds() const { return seconds_; }  ///< that a loop waited for weights

 private:
  using Group = std::map<std::string, at::Tensor>;  // by name

  Group read(int64_t group) const;
  void remove_group(int64_t group);

  DecoderImpl& decoder_;
  const Checkpoint& checkpoint_;
  at::Device device_;
  at::ScalarType dtype_;
  int64_t parts_a_layer_, layers_;
  std::string embedding_, head_;
  std::vector<std::vector<std::string>> names_;  // of each group
  std::map<std::string, int64_t> added_;         // rows of parameters that the checkpoint lacks
  bool own_head_ = false;
  std::set<int64_t> held_;
  int64_t ahead_ = -1, first_held_ = 0;
  double seconds_ = 0;
  std::future<Group> reading_;  // last, as it goes first: destroying it waits for its thread
};

}  // namespace slice::detail
