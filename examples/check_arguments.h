#pragma once

#include "slice_plan.h"

namespace cli {

/// Refuses options of slice_model that exclude or need one another.
/// @throws CLI::ValidationError  names them
void check_arguments(const Arguments& arguments);

}  // namespace cli
