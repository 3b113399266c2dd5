#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "libslice/base/progress.h"
#include "libslice/device/process_group.h"
#include "libslice/method/calibration_windows.h"
#include "libslice/method/held_weights.h"
#include "libslice/model/adapter.h"

namespace slice {

/// Gradient covariances of a dense model: how much the loss depends on each direction of the
/// residual stream.
///
///   Γ_s = E[g gᵀ],  g = ∂/∂x_s of −log p(y)          (docs/method.md, "Output-aware directions")
///
/// at every site s, over all tokens, those of each text counting its weight, for targets y that are sampled from the model's own output
/// distribution: an empirical Fisher matrix. The model is run forwards once; then every sublayer is
/// run again with autograd, last one first, so that only one sublayer's activations live at a time.
/// In half precision every site's gradients have a power of two of their own, taken out of Γ again.
///
/// @param model   dense, unsliced; not modified
/// @param windows whatever they are for
/// @param seed    of the targets; the same seed on the same device gives the same bits. A window's
///                targets depend only on the seed and the window's number, not on batches or ranks.
/// @param group   shares the windows
/// @param weights for sublayers that are loaded and dropped, once forwards and once backwards (the
///                last ones held, once in all). The signal before every run of sublayers that is
///                held together is then kept on the host, and all runs but the last go forwards
///                once more. The bits are the same on the CPU; on a GPU too where batches are.
/// @param tf32    products of a float32 model on a GPU: TF32, or exact (LibTorch's global switch,
///                put back at the end)
/// @return        for every site (D, D) float64 on the CPU, symmetric, per token
/// @throws NumericError  a gradient overflowed (names the sublayer that reads there)
/// @throws DeviceError   no memory for one window
/// Cost: two forward and one backward pass; holds the signal of one window (on a device of a few)
/// at every site, and D² doubles a site.
std::vector<at::Tensor> gradient_covariances(const ModelAdapter& model,
                                             const CalibrationWindows& windows, uint64_t seed = 0,
                                             const OnProgress& on_progress = {},
                                             const ProcessGroup& group = {},
                                             const HeldWeights& weights = {}, bool tf32 = true);

}  // namespace slice
