#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <optional>
#include <string>

#include "libslice/checkpoint/model.h"

namespace slice {

/// How the matrices of a GGUF file are stored. Of kQ8_0 (ggml's, 8.5 bits a number) a matrix whose
/// rows 32 does not divide is float16 instead, as in llama.cpp's own conversion.
enum class GgufType { kFloat32, kFloat16, kBFloat16, kQ8_0 };

struct GgufOptions {
  /// Of the matrices; that of Model::stored_dtype() when absent. Vectors (norms, biases) and the
  /// routers of experts are always float32, as in llama.cpp's own conversion.
  std::optional<GgufType> type = std::nullopt;
  bool replace = false;   ///< whether an existing file is replaced or an error
  std::string name = "";  ///< general.name; the file's name without suffix when empty
};

/// Why a model of this configuration cannot be written for llama.cpp; nothing where it can: where
/// dense_config() (stock.h) has a form for it and that form is one of llama.cpp's architectures,
/// its family's own or a more general one          (model/families/gguf_architectures.cpp)
///   llama     LLaMA; Mistral and Mixtral, whose window llama.cpp ignores; any other network that
///             is a LLaMA's, where its own architecture has no place for its heads or its biases
///   mistral3  Mistral whose YaRN has its own constants; Ministral 3
///   deci      what llama takes, with FFN widths that differ between layers: the others read only
///             the first width
std::optional<std::string> gguf_obstacle(const ModelConfig& config);
/// general.architecture of such a file; empty where gguf_obstacle() says why there is none.
std::string gguf_architecture(const ModelConfig& config);

/// Why a tokenizer cannot be written for llama.cpp; nothing where it can.
std::optional<std::string> gguf_obstacle(const Tokenizer& tokenizer, int64_t vocabulary_size);

/// Refuses, before the work, a path that save_gguf could not write; leaves no trace.
/// @throws Error  names the path and the reason
void check_gguf_path(const std::filesystem::path& path, bool replace);

/// Writes a model as one GGUF v3 file that llama.cpp loads: metadata, tokenizer, tensors one at a
/// time, in the form of llama.cpp's own conversion. Written next to `path` and renamed at the end.
/// A model without a tokenizer is written without a vocabulary.
///
/// @throws FormatError   gguf_obstacle(), or a tokenizer that llama.cpp has no form for
/// @throws DtypeError    no type was asked for, and Model::stored_dtype() is none of them
/// @throws ShapeError    weights that no configuration describes: slicing was interrupted
/// @throws NumericError  a weight overflows the type (named)
/// @throws Error         the file exists, no permission, no space left; no trace of it remains
void save_gguf(const Model& model, const std::filesystem::path& path,
               const GgufOptions& options = {}, const OnProgress& on_progress = {});

}  // namespace slice
