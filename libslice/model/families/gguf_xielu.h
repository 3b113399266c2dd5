#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "libslice/format/gguf.h"
#include "libslice/model/config.h"

namespace slice::models {

/// xIELU's constants are no tensors in a GGUF file: the metadata has a list of each, with a number
/// for every layer.        (source: src/models/apertus.cpp in llama.cpp's repository)
struct GgufList {
  std::string key;                      ///< "xielu.alpha_p"
  std::vector<std::string> parameters;  ///< one in every layer
  std::vector<int64_t> shape;           ///< of each: one number
};

/// Those of a configuration; none without xIELU.
std::vector<GgufList> gguf_lists(const ModelConfig& config);

/// The parameters in the lists of a file, float32. A number alone is that of every layer.
/// @throws FormatError  a list is missing or not as long as there are layers
std::map<std::string, at::Tensor> parse_gguf_lists(const GgufFile& file, const ModelConfig& config);

}  // namespace slice::models
