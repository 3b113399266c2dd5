#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

#include "libslice/checkpoint/checkpoint.h"
#include "libslice/format/gguf.h"

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
  };

  /// Heads of a weight or bias that llama.cpp stores in the interleaved rotary form; 0 for others.
  int64_t rotated_heads(const std::string& name) const;
  /// Places one of the file's tensors under its Hugging Face names.
  void add_tensor(const std::string& name, const GgufFile::Entry& entry);
  /// Ties the head where the file holds one matrix as embedding and as head: the one that is stored
  /// in more bytes serves for both.
  void tie_head();

  GgufFile file_;
  // llama.cpp's "llama" rotates neighbouring coordinates together, the others i and i + d/2.
  bool interleaved_ = false;
  std::map<std::string, Rows> stored_;  // Hugging Face name → where it is in the file
};

}  // namespace slice::detail
