#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "libslice/base/progress.h"
#include "libslice/device/process_group.h"
#include "libslice/method/calibration_windows.h"
#include "libslice/method/held_weights.h"
#include "libslice/method/plan.h"
#include "libslice/model/adapter.h"
#include "libslice/slicing/candidates.h"
#include "libslice/slicing/detail/slice_sublayers.h"

namespace slice::detail {

/// Ranks the channels of the candidates, tries each of them, and sorts them: first the one with the
/// least loss of those that options may choose, then the others by loss. (search.h)
/// @param candidates  what candidates() gave, or some of it     @param gammas  of the same windows
/// @param weights     of a model whose weights come and go, for the ranking; of the hooks, for the
///                    trials, `enter` and `scratch`
/// @return  without those that have come to store or read more than the dense model
/// @throws ArgumentError  none is left
std::vector<Candidate> choose_plan(const ModelConfig& dense, ModelAdapter& model,
                                   const CalibrationWindows& windows, const SliceOptions& options,
                                   std::vector<Candidate> candidates,
                                   const std::vector<at::Tensor>& gammas,
                                   const OnProgress& on_progress, const ProcessGroup& group = {},
                                   const HeldWeights& weights = {}, const LayerHooks& hooks = {});

}  // namespace slice::detail
