#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "libslice/model/config.h"

namespace slice {

/// A model on disk in any format, opened: its configuration, and its tensors under their Hugging
/// Face names. Opening reads headers only; `read` materialises one tensor.
class Checkpoint {
 public:
  struct Entry {
    std::vector<int64_t> shape;
    at::ScalarType dtype;    ///< what `read` returns
    bool quantised = false;  ///< stored in blocks of integers; `read` dequantises to float32
  };

  virtual ~Checkpoint() = default;
  const ModelConfig& config() const { return config_; }
  const std::map<std::string, Entry>& tensors() const { return entries_; }
  const std::filesystem::path& path() const { return path_; }
  /// @return  CPU, contiguous, its own memory; q and k in the split-half rotary form
  /// @throws FormatError  no such tensor
  virtual at::Tensor read(const std::string& name) const = 0;

 protected:
  std::filesystem::path path_;
  ModelConfig config_;
  std::map<std::string, Entry> entries_;
};

/// Opens a Hugging Face directory (config.json with model.safetensors, or with shards and their
/// index), a `.gguf` file, or a llama2.c `.bin`; the content decides, not the suffix alone.
///
/// @throws FormatError  nothing there; none of these formats, or something that the format's reader
///                      rejects; an index that names a missing shard or tensor, or a shard outside
///                      the directory
std::unique_ptr<Checkpoint> open_checkpoint(const std::filesystem::path& path);

/// The configuration alone: of whatever open_checkpoint opens, of a directory that holds only a
/// config.json, or of that file. Of a directory with what its generation_config.json says.
/// @throws FormatError  as open_checkpoint
ModelConfig read_config(const std::filesystem::path& path);

/// The dtype that the matrices of a file are stored in (the embedding's, where they differ);
/// nothing for a file that holds quantised ones.
std::optional<at::ScalarType> stored_dtype(const Checkpoint& checkpoint);

/// Size of the largest shard, unless the caller asks for another.
inline constexpr int64_t kShardBytes = int64_t{5} << 30;

/// Writes tensors, one at a time, into safetensors files of at most `shard_bytes` each, or of one
/// tensor that is larger: `model.safetensors`, or `model-0000i-of-0000n.safetensors` with
/// `model.safetensors.index.json`.
class ShardWriter {
 public:
  struct Slot {
    std::string name;
    std::vector<int64_t> shape;
  };
  /// @param slots  all tensors, in the order in which `write` will be called; stored as `dtype`
  /// @throws ArgumentError  no tensors, a duplicate one, or a shard size that is not positive
  ShardWriter(std::filesystem::path directory, std::vector<Slot> slots, at::ScalarType dtype,
              int64_t shard_bytes = kShardBytes);
  ~ShardWriter();
  /// Writes the next tensor, any device, converted to the dtype; throws as SafetensorsWriter does.
  void write(const std::string& name, const at::Tensor& tensor);
  /// Resumes after the first `tensors` slots, which an earlier writer of the same slots wrote and
  /// synced; what it wrote after them is cut off. Before the first `write` only.
  /// @throws Error          their files are missing, short, or other ones
  /// @throws ArgumentError  more tensors than there are slots, or something was written already
  void resume_after(int64_t tensors);
  /// Returns when everything written is on the disk. @throws Error
  void sync();
  /// Closes the last shard and writes the index.
  void finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace slice
