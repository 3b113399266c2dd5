#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "libslice/base/progress.h"
#include "libslice/device/process_group.h"
#include "libslice/model/adapter.h"

namespace slice {

/// The weights of a model that its device does not hold together.
struct HeldWeights {
  int64_t sublayers = 0;  ///< of which the weights are there at a time; 0: all of them always are
  /// Told which are needed from now on, and no others: parts first … last, 0 the embeddings, i
  /// sublayer i − 1, one more than there are sublayers the final norm and the head.
  std::function<void(int64_t first, int64_t last)> hold = {};
};

/// Gradient covariances of a dense model: how much the loss feels each direction of the stream.
///
///   Γ_s = E[g gᵀ],  g = ∂/∂x_s of −log p(y)                               (mathematics §5b.1)
///
/// at every site s, over all tokens, for targets y that are sampled from the model's own output
/// distribution: an empirical Fisher matrix. The model is run forwards once; then every sublayer is
/// run again with autograd, last one first, so that only one sublayer's activations live at a time.
/// Products of a float32 model on a GPU are TF32 (LibTorch's global switch, put back at the end).
/// In half precision every site's gradients have a power of two of their own, taken out of Γ again.
///
/// @param model   dense, unsliced; not modified
/// @param tokens  (N, T) int64 calibration windows
/// @param seed    of the targets; one seed, one device: the same bits. A window's targets depend on
/// nothing but it and the window's number, so that batches and ranks change none.
/// @param group   shares the windows
/// @param weights where sublayers come and go, once forwards and once backwards (of those that are
/// held last, once in all). The stream in front of every run that is held together is then kept on
/// the host, and all runs but the last pass forwards once more. The bits are the same on the CPU;
/// on a GPU too where batches are.
/// @return        for every site (D, D) float64 on the CPU, symmetric, per token
/// @throws NumericError  a gradient overflowed (names the site)    @throws DeviceError  no memory
/// for one window. Cost: two forward and one backward pass; holds the stream of one window, on a
/// device of a few, at every site, and D² doubles a site.
std::vector<at::Tensor> gradient_covariances(const ModelAdapter& model, const at::Tensor& tokens,
                                             uint64_t seed = 0, const OnProgress& on_progress = {},
                                             const ProcessGroup& group = {},
                                             const HeldWeights& weights = {});

}  // namespace slice
