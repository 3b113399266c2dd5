#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>

#include "libslice/base/progress.h"
#include "libslice/checkpoint/checkpoint.h"
#include "libslice/method/calibration_windows.h"
#include "libslice/method/plan.h"
#include "libslice/slicing/detail/resume_journal.h"
#include "libslice/slicing/search.h"

namespace slice::detail {

/// What a refit layer by layer knows before its loop: Γ, and the plan of a budget. Weights are read
/// layer by layer, and the result is that of search_plan on the whole model, bit for bit on the CPU.
/// Left out are plans that keep a tied head's embedding and rotate it: its map needs the embedding.
/// @param asked    kRefit; with the kept size where no budget is given
/// @param dtype    that weights are held in     @param scratch  directory for a signal that no
///                 memory has room for
/// @param journal  keeps both, and gives them to a run that is resumed; or nullptr
/// @throws ArgumentError, NumericError, DeviceError  as search_plan and gradient_covariances
/// Cost: the gradients read the checkpoint twice; the ranking of channels and every trial once.
SearchResult layerwise_plan(const Checkpoint& checkpoint, const CalibrationWindows& windows,
                            const SliceOptions& asked, at::Device device, at::ScalarType dtype,
                            const std::filesystem::path& scratch, ResumeJournal* journal,
                            const OnProgress& on_progress);

}  // namespace slice::detail
