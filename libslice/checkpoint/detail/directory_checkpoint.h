#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

#include "libslice/checkpoint/detail/hugging_face_checkpoint.h"
#include "libslice/format/safetensors.h"

namespace slice::detail {

/// A Hugging Face directory. As in Transformers, model.safetensors goes before an index, and of an
/// index the files count that it names, with all that is in them.
class DirectoryCheckpoint : public HuggingFaceCheckpoint {
 public:
  /// @throws FormatError  as open_checkpoint
  explicit DirectoryCheckpoint(const std::filesystem::path& path);

 private:
  at::Tensor stored(const std::string& tensor) const override;
  at::Tensor stored_rows(const std::string& tensor, int64_t begin, int64_t end) const override;
  void add_file(const std::string& name);
  void open_shards(const std::filesystem::path& index);
  /// Refuses a parameter that the index promises and its file does not hold.
  void check_promises() const;

  std::map<std::string, SafetensorsFile> files_;
  std::map<std::string, std::string> place_;     // tensor → its file
  std::map<std::string, std::string> promised_;  // tensor of the index that is in no file → file
};

/// Whether a directory holds safetensors under the names that Transformers looks for.
bool holds_weights(const std::filesystem::path& directory);

/// The configuration that a directory's config.json and generation_config.json give.
/// @throws FormatError  as read_config
ModelConfig directory_config(const std::filesystem::path& directory);
/// That of a config.json alone.
ModelConfig config_of_file(const std::filesystem::path& path);

}  // namespace slice::detail
