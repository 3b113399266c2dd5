#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <string>
#include <vector>

#include "libslice/base/progress.h"

namespace slice {

class Model;

struct ImatrixOptions {
  std::vector<std::string> texts = {};  ///< what they are called: imatrix.datasets
  bool replace = false;                 ///< whether an existing file is replaced or an error
};

/// Writes an importance matrix for llama.cpp's llama-quantize: of every matrix of the layers in the
/// GGUF file that save_gguf() makes of the model, how large what it multiplies is, so that columns
/// that meet large numbers are quantised more exactly. As llama-imatrix writes it, float32:
///   NAME.in_sum2  (in), of a stack of experts (E, in)    Σ x² of each coordinate
///   NAME.counts   (1), (E, 1)                            over so many tokens
/// with imatrix.chunk_count = N, imatrix.chunk_size = T. The embedding and the head have none
/// there.                                               (source: tools/imatrix in its repository)
///
/// @param tokens  (N, T) int64, any device; every window is a text of its own
/// @throws FormatError   gguf_obstacle() (gguf_write.h)
/// @throws ShapeError    no tokens; weights that no configuration describes: slicing was interrupted
/// @throws ArgumentError an id outside the vocabulary, more positions than a learned table has
/// @throws NumericError  a NaN or Inf in what a layer reads (named)
/// @throws Error         the file exists, no permission, no space left; no trace of it remains
/// Cost: one forward pass without the head; of a mixture the experts run twice. Of a model whose
/// hidden size was sliced a second copy of the weights, in the file's form.
void save_imatrix(const Model& model, const at::Tensor& tokens, const std::filesystem::path& path,
                  const ImatrixOptions& options = {}, const OnProgress& on_progress = {});

}  // namespace slice
