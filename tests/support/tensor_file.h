#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "libslice/format/safetensors.h"
#include "libslice/model/config_json.h"
#include "libslice/model/decoder.h"

namespace slice::tests {

using NamedTensors = std::map<std::string, at::Tensor>;

/// Writes a safetensors file of these tensors, each in its dtype.
inline void write_tensors(const std::filesystem::path& path, const NamedTensors& tensors) {
  std::vector<SafetensorsWriter::Slot> slots;
  for (const auto& [name, tensor] : tensors)
    slots.push_back({name, tensor.scalar_type(), tensor.sizes().vec()});
  SafetensorsWriter writer(path, slots);
  for (const auto& [name, tensor] : tensors) writer.write(name, tensor);
  writer.finish();
}

/// The parameters of a decoder by name, in float32.
inline NamedTensors tensors_of(const DecoderImpl& decoder) {
  NamedTensors tensors;
  for (const auto& parameter : decoder.named_parameters())
    tensors[parameter.key()] = parameter.value().detach().to(at::kFloat);
  return tensors;
}

/// A Hugging Face directory of a configuration and model.safetensors.
inline void write_directory(const std::filesystem::path& directory, const ModelConfig& config,
                            const NamedTensors& tensors) {
  std::filesystem::create_directories(directory);
  write_tensors(directory / "model.safetensors", tensors);
  std::ofstream(directory / "config.json") << config_json(config, "float32");
}

}  // namespace slice::tests
