#pragma once

// What slice_model's run takes, part by part, before it begins.

#include <vector>

#include "run_progress.h"
#include "slice_plan.h"

namespace cli {

/// FLOP of slicing.
struct RunFlop {
  double gradients = 0, channels = 0, search = 0, slice = 0;
  double total() const { return gradients + channels + search + slice; }
};

/// What one model out of the plan takes, without a search.
slice::ExpectedCost expected_cost(const Arguments& arguments, const Plan& plan,
                                  const slice::ModelConfig& sliced, int64_t windows,
                                  int64_t context);

/// @param windows  of calibration, of `context` tokens
RunFlop expected_flop(const Arguments& arguments, const Plan& plan, int64_t windows,
                      int64_t context);

/// The phases of a run, in their order, for its progress.
/// @param tested  tokens that perplexity is measured on, before and after
std::vector<Phase> run_phases(const Arguments& arguments, const Plan& plan,
                              const slice::CalibrationWindows& windows, int64_t tested);

}  // namespace cli
