#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "libslice/checkpoint/checkpoint.h"
#include "libslice/format/safetensors.h"
#include "libslice/model/families/stored_form.h"

namespace slice::detail {

/// A Hugging Face directory. As in Transformers, model.safetensors goes before an index, and of an
/// index the files count that it names, with all that is in them.
class DirectoryCheckpoint : public Checkpoint {
 public:
  /// @throws FormatError  as open_checkpoint
  explicit DirectoryCheckpoint(const std::filesystem::path& path);
  at::Tensor read(const std::string& name) const override;

 private:
  /// Our name of a file's tensor: with the "model." that the file's names lack, as those of OPT's
  /// first files do, or without what a model of text and images puts before those of its text.
  std::string name_of(const std::string& tensor) const;
  /// Says of each parameter that the files hold where it is; other tensors keep their names.
  void place_parameters();
  void add_file(const std::string& name);
  void open_shards(const std::filesystem::path& index);
  /// Decides whether the head is the embedding, by the tensors.
  void tie_head();
  /// Refuses a parameter that the index promises and its file does not hold.
  void check_promises() const;

  std::map<std::string, SafetensorsFile> files_;
  std::map<std::string, std::string> place_;          // tensor in its file → file
  std::map<std::string, std::string> there_;          // our name of a tensor → its name there
  std::map<std::string, models::StoredForm> stored_;  // parameter, or other tensor → where it is
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
