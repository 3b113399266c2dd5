#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "libslice/base/progress.h"
#include "libslice/device/process_group.h"
#include "libslice/method/calibration_windows.h"
#include "libslice/method/plan.h"
#include "libslice/slicing/candidates.h"

namespace slice {

class Model;

/// The plan with the least loss within a budget: every candidate is tried on some of the
/// calibration windows (refit_trial), and the best is taken. Gradient covariances and the ranking
/// of channels are computed once and reused. With Layout::kStock the best of the stock ones is
/// taken, and the others are tried beside them. (docs/method.md, "Plan search")
struct SearchResult {
  SliceOptions options;          ///< of the chosen plan: kept, ffn_sizes
  std::vector<Candidate> tried;  ///< all candidates, the chosen one first
  std::vector<at::Tensor> gammas;
  double gradient_seconds = 0;  ///< that these took
};

/// @param windows  fewer than eight, or than four of every text, are refused: on none could plans be
///                 compared
/// @throws ArgumentError  as candidates; a method other than kRefit
/// Cost: the gradients, a dense forward pass, and at most seventeen trials on 32 windows.
SearchResult search_plan(Model& model, const CalibrationWindows& windows,
                         const SliceOptions& options, const OnProgress& on_progress = {},
                         const ProcessGroup& group = {});

}  // namespace slice
