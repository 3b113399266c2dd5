#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "libslice/base/progress.h"
#include "libslice/device/process_group.h"
#include "libslice/method/calibration_windows.h"
#include "libslice/method/held_weights.h"
#include "libslice/model/adapter.h"

namespace slice {

/// Which channels of a feed-forward network to keep, by the optimal brain surgeon.
///
/// Deleting channel i of h, and letting the others make up for it by least squares, adds to the
/// loss about
///   (w_iᵀ Γ w_i) / [A⁻¹]_ii,   A = hᵀh + ridge,  w_i = column i of the least-squares writer
/// (docs/method.md, "Channels"; Hassibi & Stork 1993). The cheapest are deleted one by one, the
/// others taking over what each wrote, in six rounds: each looks at the cheapest channels, twice as
/// many as it deletes, and then moments and weights are computed anew.
///
/// @param A      (F, F) float64, symmetric; second moments of the channels, ridge not included
/// @param W      (D, F) float64: what writes them into the residual stream
/// @param gamma  (D, D) float64: gradient covariance of the site after it; undefined: the identity
/// @param keep   1 … F channels
/// @param ridge  share of the mean diagonal of A that is added to its diagonal
/// @return       (keep) int64, ascending
/// @throws ShapeError    A or W of another shape     @throws ArgumentError  keep out of range
/// @throws NumericError  A is not positive, even with the ridge
/// Cost: six inverses of A, O(F³) each, as many products O(D·F²), and O(n²) for each of the n
/// channels deleted in a round.
at::Tensor keep_channels(const at::Tensor& A, const at::Tensor& W, const at::Tensor& gamma,
                         int64_t keep, double ridge);

/// The effect on the loss of every channel of every feed-forward network, in the dense model:
///   E[h_i²] · (w_iᵀ Γ w_i)                                       (docs/method.md, "Channels")
/// where a norm on the output follows with h / r and diag(γ) w in their place ("Norms on outputs"),
/// over all tokens, those of each text counting its weight. They are comparable across layers, so
/// that one ranking (channel_ranking.h) gives the number of channels that each layer keeps. Of a
/// mixture of experts, each of which chooses its own, there are none.
///
/// @param windows  whatever they are for    @param gammas  what gradient_covariances gave
/// @param group    shares the windows
/// @param weights  for sublayers that are loaded and dropped, one part at a time, once forwards
/// @return        for every network (F) float64 on the CPU, in the order of the sublayers
/// Cost: a forward pass; feed-forward networks run twice.
std::vector<at::Tensor> channel_scores(const ModelAdapter& model, const CalibrationWindows& windows,
                                       const std::vector<at::Tensor>& gammas,
                                       const OnProgress& on_progress = {},
                                       const ProcessGroup& group = {},
                                       const HeldWeights& weights = {});

/// Deletes all other channels of a feed-forward network: rows of its readers, columns of its
/// writer. In place through set_data.
/// @param kept  (n) int64, ascending
void remove_channels(Branch& network, const at::Tensor& kept);
void remove_channels(ExpertRef& network, const at::Tensor& kept);

}  // namespace slice
