#pragma once

#include <ATen/core/Tensor.h>

#include "libslice/base/progress.h"
#include "libslice/device/process_group.h"
#include "libslice/method/calibration_windows.h"
#include "libslice/method/plan.h"
#include "libslice/slicing/report.h"

namespace slice {

class Model;
struct ModelAdapter;

/// Slices a model in place: before every sublayer the residual stream is rotated into a basis of
/// which some directions are deleted, and the weights that read and write it are rewritten.
/// Method::kSliceGpt is the paper's (docs/method.md, "Slicing"; SliceGPT §3), kRefit ours
/// (docs/method.md, "Refit").
///
/// The layers are sliced in one sweep: a sublayer sees the signal of the model sliced before it.
/// With kSliceGpt it runs once.
///
/// A group of processes, each with the model and all tokens, shares the windows and the rewriting:
/// the ranks' covariances are added, and all of them end with the same model, that of one process
/// up to the order of float64 sums.
///
/// @param model        dense; its weights change shape, and a tied head is untied unless it keeps
///                     its tie or the hidden size stays. After a throw every sublayer is whole, old
///                     or new, but the model as a whole is of no use.
/// @param windows      calibration windows (N, T) int64, any device, or CalibrationWindows of several
///                     texts; kRefit holds some out (docs/method.md, "Calibration")
/// @param on_progress  called after every chunk; may throw to stop
/// @return             sizes, kept variance and time of every site, parameters before and after,
///                     memory
/// @throws ArgumentError  options or token ids out of range, a model already sliced, fewer windows
///                        than ranks     @throws ShapeError  tokens that are not (N, T) int64
/// @throws NumericError   a NaN or Inf in a weight or in the signal (names where)
/// @throws DeviceError    the device has no memory for the signal, or for one window at a time
/// @throws Error          contact with another rank is lost
/// Cost of kSliceGpt: one forward pass over the tokens, n·D² flop of covariance and an O(D³)
/// eigensolve a site; holds the signal (N·T·D elements) and one chunk's activations beside the
/// model. kRefit: beside the gradients one forward pass of the dense model and two of the sliced
/// one, and both signals.
SliceReport slice_model(Model& model, const CalibrationWindows& windows,
                        const SliceOptions& options = {}, const OnProgress& on_progress = {},
                        const ProcessGroup& group = {});

/// The same for user-defined modules. The report holds what an adapter knows: sites, sizes,
/// calibration, times.
SliceReport slice_model(ModelAdapter& model, const CalibrationWindows& windows,
                        const SliceOptions& options = {}, const OnProgress& on_progress = {},
                        const ProcessGroup& group = {});

}  // namespace slice
