#pragma once

// slice_model's options that say how to slice.

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <vector>

#include "libslice/method/plan.h"
#include "libslice/model/config.h"

namespace cli {

struct SliceArguments {
  slice::SliceOptions options;
  std::optional<double> slice;
  std::string shortcut = "auto", layout;
  std::vector<int64_t> ffn;
};

/// --slice, --remove, --remove-blocks, --fit…, --method, --shortcut, --ffn, --samples-gradient,
/// --seed, --tf32, --head, --keep-tie, --round, --layout.
void add_slice_options(CLI::App& app, SliceArguments& arguments);

/// Called once they are parsed. Where no size is given a quarter of the block weights is to go, of
/// slicegpt, which has no search, a quarter of the hidden size.
/// @throws CLI::ValidationError  a value that no model could have
void check_slice_options(SliceArguments& arguments);

/// The options for a model: one number after --ffn means every layer.
slice::SliceOptions slice_options(const SliceArguments& arguments, const slice::ModelConfig& dense);

}  // namespace cli
