#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
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
/// index), a `.gguf` file, or a llama2.c `.bin`; the content decides, not the suffix alone. A head
/// that the file holds is the model's, whatever the configuration says of a tie. Warns of tensors
/// that are not used.                                  (docs/models.md, "What a file may hold")
///
/// @throws FormatError  nothing there; none of these formats (says what it is instead, where that
///                      is known), or something that the format's reader rejects; an index that
///                      names a missing shard, or a shard outside the directory; a tensor that the
///                      network lacks and that would change what it computes
std::unique_ptr<Checkpoint> open_checkpoint(const std::filesystem::path& path);

/// The configuration alone: of whatever open_checkpoint opens, of a directory that holds a
/// config.json and no weights, or of that file. Of a directory with what its generation_config.json
/// says.
/// @throws FormatError  as open_checkpoint
ModelConfig read_config(const std::filesystem::path& path);

/// The dtype that the matrices of a file are stored in (the embedding's, where they differ);
/// nothing for a file that holds quantised ones.
std::optional<at::ScalarType> stored_dtype(const Checkpoint& checkpoint);

}  // namespace slice
