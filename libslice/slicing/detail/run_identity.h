#pragma once

#include <ATen/core/Tensor.h>

#include "libslice/checkpoint/checkpoint.h"
#include "libslice/method/calibration_windows.h"
#include "libslice/method/plan.h"
#include "libslice/slicing/detail/resume_journal.h"
#include "libslice/slicing/slice_checkpoint.h"

namespace slice::detail {

/// All that the files of a run layer by layer depend on, each by the name that a refusal to resume
/// says: libslice's version, method, a fingerprint of the checkpoint, calibration, plan, chunk size,
/// device, dtypes, shard size; of kRefit the uses of the windows, gradients and products too.
/// @param options  with the kept size, or a budget     @param device, held, written  of the run
ResumeJournal::Identity run_identity(const Checkpoint& checkpoint,
                                     const CalibrationWindows& windows, const SliceOptions& options,
                                     const LayerwiseOptions& layerwise, at::Device device,
                                     at::ScalarType held, at::ScalarType written);

}  // namespace slice::detail
