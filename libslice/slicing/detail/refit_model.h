#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "libslice/base/progress.h"
#include "libslice/device/process_group.h"
#include "libslice/method/plan.h"
#include "libslice/model/adapter.h"
#include "libslice/slicing/report.h"

namespace slice {

/// Slices somebody's modules in place by the `refit` method (mathematics §5b): the stream keeps the
/// directions that matter to the loss, not only to the signal; every writer is fitted anew so that
/// the sliced stream follows the dense model's; shortcuts are identities, diagonal, of low rank or
/// dense; FFN channels go by the optimal brain surgeon. Called by slice_model.
///
/// Where nothing is sliced (slice = 0) only FFN channels go: norms, embeddings and head, tied or
/// not, stay as they are.
///
/// The ranks of a group share the windows, held-out ones and others, and add their moments; what
/// follows from these every rank computes, and takes rank 0's.
///
/// @param gammas  what gradient_covariances gave; computed here when empty
/// @throws as slice_model.
/// Cost: beside the gradients, one pass of the dense model and two of the sliced one; moments of
/// n·(F + k + D)² flop, a few factorisations O(F³) and at most three eigensolves O(D³) a sublayer.
/// Holds two streams of N·T·D elements and 2·(F + k + D)² doubles beside the model.
SliceReport refit_model(ModelAdapter& model, const at::Tensor& tokens, const SliceOptions& options,
                        const OnProgress& on_progress = {}, std::vector<at::Tensor> gammas = {},
                        const ProcessGroup& group = {});

/// What slicing so would give, without doing it: mean negative log-likelihood of a token in the
/// held-out windows (the last eighth). The model is the same afterwards; every sublayer is put back
/// as soon as the next one has its input, so that no second copy of the model exists.
double refit_trial(ModelAdapter& model, const at::Tensor& tokens, const SliceOptions& options,
                   const std::vector<at::Tensor>& gammas, const ProcessGroup& group = {});

/// The windows that the gradients see, evenly over all: options.gradient_samples, or half of them.
at::Tensor gradient_windows(const at::Tensor& tokens, const SliceOptions& options);

/// Windows at the end of n that are held out from fitting: an eighth, none of fewer than eight.
int64_t held_out_windows(int64_t n);
/// @throws ShapeError  too few windows for a trial: none would be held out.
void check_trial_windows(const at::Tensor& tokens);

}  // namespace slice
