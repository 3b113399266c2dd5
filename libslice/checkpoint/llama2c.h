#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "libslice/base/detail/input_file.h"
#include "libslice/model/config.h"

namespace slice {

/// A llama2.c checkpoint, legacy float32 layout: seven int32 (dim, hidden_dim, layers, heads,
/// kv_heads, vocabulary, context; a negative vocabulary means an untied head), then the tensors of
/// all layers stacked by kind, two rotary tables that are not read, and the head where it is
/// untied. Tensors have their Hugging Face names; rows of q and k are permuted from the interleaved
/// rotary form to the split-half form.
///                                         (source: karpathy/llama2.c, export.py: legacy_export)
class Llama2cFile {
 public:
  /// @throws FormatError  missing; not as long as its header says; sizes out of range or
  ///                      contradictory; a versioned ("ak42") file
  explicit Llama2cFile(const std::filesystem::path& path);

  const ModelConfig& config() const { return config_; }
  /// Names and shapes of all tensors.
  const std::map<std::string, std::vector<int64_t>>& tensors() const { return shapes_; }
  /// One tensor, CPU float32. @throws FormatError  no such tensor
  at::Tensor read(const std::string& name) const;

 private:
  detail::InputFile file_;
  ModelConfig config_;
  std::map<std::string, std::vector<int64_t>> shapes_;
  std::map<std::string, uint64_t> offsets_;
};

}  // namespace slice
