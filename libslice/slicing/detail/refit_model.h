#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "libslice/base/progress.h"
#include "libslice/device/process_group.h"
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
/// sublayer. Holds two signals of N·T·D elements and 2·(F + k + D)² doubles beside the model.
SliceReport refit_model(ModelAdapter& model, const at::Tensor& tokens, const SliceOptions& options,
                        const OnProgress& on_progress = {}, std::vector<at::Tensor> gammas = {},
                        const ProcessGroup& group = {});

/// The loss of a plan: mean negative log-likelihood of a token in the held-out windows (the last
/// eighth) if the model were sliced so. The model is unchanged afterwards; every sublayer is
/// restored as soon as the next one has its input, so that no second copy of the model exists; also
/// when on_progress throws.
double refit_trial(ModelAdapter& model, const at::Tensor& tokens, const SliceOptions& options,
                   const std::vector<at::Tensor>& gammas, const OnProgress& on_progress = {},
                   const ProcessGroup& group = {});

/// The windows that gradients are taken on, spread evenly: options.gradient_samples of them, or
/// half.
at::Tensor gradient_windows(const at::Tensor& tokens, const SliceOptions& options);

/// Windows at the end of n that are held out from fitting: an eighth; none of fewer than eight.
int64_t held_out_windows(int64_t n);
/// @throws ArgumentError  too few windows for a trial: none would be held out.
void check_trial_windows(const at::Tensor& tokens);

}  // namespace slice
