#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "libslice/base/progress.h"
#include "libslice/device/process_group.h"
#include "libslice/method/calibration_windows.h"
#include "libslice/method/plan.h"
#include "libslice/model/adapter.h"
#include "libslice/slicing/report.h"

namespace slice {

/// Slices user-defined modules in place by the `refit` method (docs/method.md, "Refit"): the signal
/// keeps the directions that matter to the loss, not only to its own variance; every writer is
/// fitted anew so that the sliced signal follows the dense model's; shortcuts are identities,
/// diagonal, of low rank or dense; FFN channels are deleted by the optimal brain surgeon. Called by
/// slice_model.
///
/// Where the hidden size is kept (slice = 0) only FFN channels are deleted: norms, embeddings and
/// head, tied or not, stay as they are.
///
/// Nothing that is written depends on the windows that are held out; the report has the losses of
/// the dense and the sliced model on them, text by text. (docs/method.md, "Calibration")
///
/// The ranks of a group share the windows, held-out ones and others, and add their moments; every
/// rank computes what follows from these, and takes rank 0's result.
///
/// Forward and backward passes of a float32 model on a GPU multiply in TF32 unless options.tf32 is
/// false; all other products are exact either way.
///
/// @param gammas  what gradient_covariances gave; computed here when empty
/// @throws as slice_model.
/// Cost: beside the gradients, one forward pass of the dense model and two of the sliced one;
/// moments of n·(F + k + D)² flop, a few factorisations O(F³) and at most three eigensolves O(D³) a
/// sublayer. Holds two signals of N·T·D elements beside the model, (F + k + D)² doubles for all
/// windows that are fitted from the first, whatever the number of texts, and as many for every
/// text's windows for choices.
SliceReport refit_model(ModelAdapter& model, const CalibrationWindows& windows,
                        const SliceOptions& options, const OnProgress& on_progress = {},
                        std::vector<at::Tensor> gammas = {}, const ProcessGroup& group = {});

/// The loss of a plan in nats a token, if the model were sliced so: on the windows that are held
/// out of the trial (CalibrationWindows::trial), which nothing else here looks at. Of several texts
/// it is the dense model's mean loss and the most that slicing adds to it on any one of them. The
/// model is unchanged afterwards; every sublayer is
/// restored as soon as the next one has its input, so that no second copy of the model exists; also
/// when on_progress throws.
double refit_trial(ModelAdapter& model, const CalibrationWindows& trial,
                   const SliceOptions& options, const std::vector<at::Tensor>& gammas,
                   const OnProgress& on_progress = {}, const ProcessGroup& group = {});

/// The windows that gradients are taken on, of those that are fitted and spread evenly over every
/// text: options.gradient_samples, or as many as half of all.
CalibrationWindows gradient_windows(const CalibrationWindows& windows, const SliceOptions& options);

/// @throws ArgumentError  options.recover, and no windows to judge the training on
void check_recovery_windows(const CalibrationWindows& windows, const SliceOptions& options);

/// @throws ArgumentError  too few windows for a search: no plan could be compared on any.
void check_trial_windows(const CalibrationWindows& windows);

}  // namespace slice
