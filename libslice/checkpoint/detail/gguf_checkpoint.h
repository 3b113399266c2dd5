#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

#include "libslice/checkpoint/checkpoint.h"
#include "libslice/format/gguf.h"
#include "libslice/model/families/gguf_architectures.h"
#include "libslice/model/families/stored_form.h"

namespace slice::detail {

/// A GGUF file, or all files of a split one.
class GgufCheckpoint : public Checkpoint {
 public:
  /// @throws FormatError  as open_checkpoint
  explicit GgufCheckpoint(const std::filesystem::path& path);
  at::Tensor read(const std::string& name) const override;

 private:
  struct Rows {
    std::string tensor;
    int64_t begin, end;
    int64_t expert = -1;  // of a stack: which slice
  };

  /// The order of the coordinates of the heads of q and k in the file; of others as it is.
  models::StoredForm turned_form(const std::string& name) const;
  /// Places one of the file's tensors under its Hugging Face names.
  void add_tensor(const std::string& name, const GgufFile::Entry& entry);
  /// Ties the head where the file holds one matrix as embedding and as head: the one that is stored
  /// in more bytes serves for both.
  void tie_head();

  GgufFile file_;
  const models::GgufArchitecture* architecture_ = nullptr;
  std::map<std::string, Rows> stored_;           // Hugging Face name → where it is in the file
  std::map<std::string, at::Tensor> constants_;  // parameters that are in the metadata
};

}  // namespace slice::detail
