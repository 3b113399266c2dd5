#pragma once

#include <string>
#include <string_view>

namespace slice::detail {

/// Name of the Python module that makes Transformers load a sliced model of this type ("llama"):
/// config.json's auto_map points there.
inline std::string modeling_module(const std::string& model_type) {
  return "modeling_sliced_" + model_type;
}

/// The text of libslice/checkpoint/python/modeling_sliced.py, which goes beside the weights of a
/// sliced model.
std::string_view modeling_sliced();

}  // namespace slice::detail
