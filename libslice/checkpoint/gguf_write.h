#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <optional>
#include <string>

#include "libslice/checkpoint/model.h"

namespace slice {

struct GgufOptions {
  /// Of the matrices: float32, float16 or bfloat16; Model::stored_dtype() when absent. Vectors
  /// (norms, biases) are float32 always, as llama.cpp wants them.
  std::optional<at::ScalarType> dtype = std::nullopt;
  bool replace = false;   ///< an existing file is replaced, else refused
  std::string name = "";  ///< general.name; the file's name without suffix when empty
};

/// Why a model of this configuration cannot be written for llama.cpp; nothing where it can. It
/// takes what dense_config() (stock.h) has a form for, as architecture
///   llama   LLaMA; Mistral, whose window llama.cpp ignores; a Qwen2 whose heads are no longer
///           hidden size / heads wide: llama.cpp's qwen2 wants that, its llama takes the biases
///   deci    these and every Qwen2 with an FFN width of each layer: of such a list llama.cpp's
///           llama and qwen2 take the first; its deci is a llama that takes them all
///   qwen2   Qwen2 of one FFN width, without a window
///   phi2    Phi-2 of one FFN width whose heads are hidden size / heads wide
std::optional<std::string> gguf_obstacle(const ModelConfig& config);

/// Writes a model as one GGUF v3 file that llama.cpp loads: metadata, tokenizer, tensors one at a
/// time. Written beside `path` and renamed at the end. q and k of architecture llama stand in the
/// interleaved rotary form. A model without a tokenizer is written without a vocabulary.
///
/// @throws FormatError   gguf_obstacle(), or a tokenizer that llama.cpp has no form for
/// @throws DtypeError    another dtype
/// @throws ShapeError    weights that no configuration describes: slicing the model was cut off
/// @throws NumericError  a weight overflows the dtype (named)
/// @throws Error         the file exists, no permission, no space left (nothing is left behind)
void save_gguf(const Model& model, const std::filesystem::path& path,
               const GgufOptions& options = {}, const OnProgress& on_progress = {});

}  // namespace slice
