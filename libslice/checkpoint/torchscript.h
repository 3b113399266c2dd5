#pragma once

#include <ATen/core/ScalarType.h>

#include <filesystem>
#include <optional>
#include <string>

#include "libslice/base/progress.h"

namespace slice {

class Model;
struct ModelConfig;

struct TorchScriptOptions {
  /// Of the weights; that of Model::stored_dtype() when absent.
  std::optional<at::ScalarType> dtype = std::nullopt;
  bool replace = false;  ///< whether an existing file is replaced or an error
};

/// Why a model of this configuration cannot be written as TorchScript; nothing where it can: a
/// mixture of experts has no form of its own there.
std::optional<std::string> torchscript_obstacle(const ModelConfig& config);

/// Refuses, before the work, a path that save_torchscript could not write; leaves no trace.
/// @throws Error  names the path and the reason
void check_torchscript_path(const std::filesystem::path& path, bool replace);

/// Writes a model, sliced or not, as one TorchScript file that torch::jit::load and torch.jit.load
/// read without libslice. Its parameters have the names of named_parameters(), and
///   forward(tokens (B, T) int64) → logits (B, T, V) float32
/// computes what the decoder computes, in the dtype of the weights with norms, angles and sums in
/// float32 at least; without a cache, every position anew. `to(device)` and `to(dtype)` move it.
/// The extra file config.json tells sizes and special tokens as save_model() does. Written next to
/// `path` and renamed at the end.
/// Cost: memory for the weights in the file's dtype, where the decoder holds another.
///
/// @throws FormatError   torchscript_obstacle()
/// @throws ShapeError    weights that no configuration describes: slicing was interrupted
/// @throws NumericError  a weight overflows the dtype (named)
/// @throws Error         the file exists, no permission, no space left; no trace of it remains
void save_torchscript(const Model& model, const std::filesystem::path& path,
                      const TorchScriptOptions& options = {}, const OnProgress& on_progress = {});

}  // namespace slice
