#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "libslice/checkpoint/checkpoint.h"
#include "libslice/checkpoint/model.h"

namespace slice {

/// A model as Transformers holds it in memory: what config.json says, and its tensors by name.
struct StateDict {
  std::string config;  ///< JSON
  std::map<std::string, at::Tensor> tensors;
};

/// A state dict as a checkpoint, for load_model() and slice_checkpoint(): the same model as that of
/// a directory with these tensors. What is read is a copy, so that slicing leaves the given tensors
/// as they are.
/// @param tensors  any device and strides; kept as long as the checkpoint
/// @param name     of the model, for messages
/// @throws FormatError  as open_checkpoint; a tensor that is sparse, quantised or without values
std::unique_ptr<Checkpoint> open_state_dict(std::string_view config,
                                            std::map<std::string, at::Tensor> tensors,
                                            const std::string& name = "state dict");

/// The tensors that save_model() writes, and its config.json. They are on the model's device or
/// the CPU and may share memory with the model.
/// @param dtype  of the tensors; Model::stored_dtype() when absent
/// @throws ShapeError    as save_model     @throws NumericError  a weight overflows the dtype (named)
StateDict state_dict(const Model& model, std::optional<at::ScalarType> dtype = std::nullopt);

}  // namespace slice
