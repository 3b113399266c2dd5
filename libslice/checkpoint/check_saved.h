#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <optional>

namespace slice {

class Model;

/// Compares what write_model wrote of a model with the model, bit by bit, names, shapes and dtypes
/// too.
/// @param dtype  as it was written: SaveOptions::dtype
/// @throws FormatError  the first tensor that is missing or differs, or one that is not the model's
///                      (named)
/// Cost: reads the weights once; one tensor is materialised at a time.
void check_saved(const Model& model, const std::filesystem::path& directory,
                 std::optional<at::ScalarType> dtype = std::nullopt);

}  // namespace slice
