#pragma once

#include <set>
#include <string>

#include "libslice/checkpoint/checkpoint.h"

namespace slice::detail {

/// Names of the parameters that the network of a configuration has.
std::set<std::string> parameter_names(const ModelConfig& config);

/// Looks at the tensors that the network has no parameter for (docs/models.md, "What a file may
/// hold"). Warns once of those that are not used.
/// @throws FormatError  a tensor that would change what the network computes, or names that a
///                      wrapper made longer; says which
void check_unused(const Checkpoint& checkpoint);

}  // namespace slice::detail
