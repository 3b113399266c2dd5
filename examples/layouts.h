#pragma once

// inspect: what slicing would make of a model.

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "libslice/model/config.h"

namespace cli {

/// A way to slice a model.
struct SlicedLayout {
  std::string name, flags;  ///< flags: of slice_model
  slice::ModelConfig config;
};

/// The ways to remove a quarter, of the blocks or of the hidden size, that this model allows.
std::vector<SlicedLayout> sliced_layouts(const slice::ModelConfig& dense);

/// What each would store, read and compute for a token, in weights of 16 bits, and what loads it.
nlohmann::ordered_json layouts_json(const slice::ModelConfig& dense);
/// The same as a table on stdout.
void print_layouts(const slice::ModelConfig& dense);

}  // namespace cli
